//! Files that import each other in a circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::Path;

use super::tree::Import;

/// Files of which each reaches every other along imports.
#[derive(Debug)]
pub(crate) struct Circle<'a> {
    /// All imports among these files.
    imports: Vec<&'a Import>,
}

impl<'a> Circle<'a> {
    fn files(&self) -> BTreeSet<&'a Path> {
        self.imports.iter().map(|import| import.from.as_path()).collect()
    }

    /// A shortest way round.
    fn way(&self) -> Vec<&'a Path> {
        let next = successors(&self.imports);
        let ways = self.files().into_iter().filter_map(|file| shortest_way(&next, file));
        ways.min_by_key(Vec::len).unwrap_or_default()
    }
}

impl fmt::Display for Circle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = self.way();
        writeln!(f, "{} files import each other. A shortest circle:", self.files().len())?;
        for (from, to) in way.iter().zip(way.iter().cycle().skip(1)) {
            writeln!(f, "    {} imports from {}: {}", from.display(), to.display(), self.names(from, to))?;
        }
        if self.files().len() > way.len() {
            writeln!(f, "  All imports among them:")?;
            let ties: BTreeSet<_> = self.imports.iter().map(|import| (&import.from, &import.to)).collect();
            for (from, to) in ties {
                writeln!(f, "    {} imports from {}: {}", from.display(), to.display(), self.names(from, to))?;
            }
        }
        Ok(())
    }
}

impl Circle<'_> {
    fn names(&self, from: &Path, to: &Path) -> String {
        let between = self.imports.iter().filter(|import| import.from == from && import.to == to);
        between.map(|import| import.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

type Successors<'a> = BTreeMap<&'a Path, BTreeSet<&'a Path>>;

/// The circles that these imports make; none if they run one way.
pub(crate) fn circles(imports: &[Import]) -> Vec<Circle<'_>> {
    let all: Vec<&Import> = imports.iter().collect();
    let next = successors(&all);
    let closure: Successors<'_> = next.keys().map(|file| (*file, reachable(&next, file))).collect();
    let reaches = |from: &Path, to: &Path| closure.get(from).is_some_and(|files| files.contains(to));
    let mut circles = Vec::new();
    let mut done: BTreeSet<&Path> = BTreeSet::new();
    for file in next.keys().filter(|file| reaches(file, file)) {
        if done.contains(file) {
            continue;
        }
        let files: BTreeSet<&Path> =
            next.keys().copied().filter(|other| reaches(file, other) && reaches(other, file)).collect();
        let among = |import: &&Import| files.contains(import.from.as_path()) && files.contains(import.to.as_path());
        circles.push(Circle { imports: imports.iter().filter(among).collect() });
        done.extend(files);
    }
    circles
}

fn successors<'a>(imports: &[&'a Import]) -> Successors<'a> {
    let mut next = Successors::new();
    for import in imports {
        next.entry(&import.from).or_default().insert(&import.to);
    }
    next
}

/// What is reached from a file in one step or more.
fn reachable<'a>(next: &Successors<'a>, from: &Path) -> BTreeSet<&'a Path> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&Path> = next.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = waiting.pop() {
        if let Some((file, after)) = next.get_key_value(file)
            && reached.insert(*file)
        {
            waiting.extend(after);
        }
    }
    reached
}

/// The files on a shortest way from a file back to itself.
fn shortest_way<'a>(next: &Successors<'a>, from: &'a Path) -> Option<Vec<&'a Path>> {
    let mut before: BTreeMap<&Path, &'a Path> = BTreeMap::new();
    let mut waiting = VecDeque::from([from]);
    while let Some(file) = waiting.pop_front() {
        for &after in next.get(file).into_iter().flatten() {
            if after == from {
                let mut way = vec![file];
                while let Some(earlier) = before.get(way.last()?) {
                    way.push(earlier);
                }
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(after) {
                before.insert(after, file);
                waiting.push_back(after);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(ties: &[(&str, &str)]) -> Vec<Import> {
        ties.iter()
            .map(|(from, to)| Import { from: from.into(), to: to.into(), name: format!("crate::{to}") })
            .collect()
    }

    #[test]
    fn imports_one_way_make_no_circle() {
        assert!(circles(&imports(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])).is_empty());
    }

    #[test]
    fn circles_are_told_with_what_ties_them() {
        let imports = imports(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "b"), ("d", "a"), ("e", "f"), ("f", "e")]);
        let found: Vec<String> = circles(&imports).iter().map(Circle::to_string).collect();
        assert_eq!(
            found,
            [
                "3 files import each other. A shortest circle:\n    b imports from c: crate::c\n    c imports from b: crate::b\n  \
                 All imports among them:\n    a imports from b: crate::b\n    b imports from c: crate::c\n    \
                 c imports from a: crate::a\n    c imports from b: crate::b\n",
                "2 files import each other. A shortest circle:\n    e imports from f: crate::f\n    f imports from e: crate::e\n",
            ]
        );
    }
}
