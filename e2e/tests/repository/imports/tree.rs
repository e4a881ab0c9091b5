//! The modules of one crate, and what a path means in one of them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::source::{Declared, Mention, Source, Use};

/// The place of a module in [`Tree::modules`].
type Id = usize;

/// All modules of one crate.
pub(crate) struct Tree {
    modules: Vec<Module>,
}

struct Module {
    file: PathBuf,
    parent: Option<Id>,
    children: BTreeMap<String, Id>,
    items: Vec<String>,
    uses: Vec<Use>,
    mentions: Vec<Mention>,
    test: bool,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Module(Id),
    /// Something that this module defines.
    Item(Id),
    /// Something of another crate, which this module imports.
    Foreign(Id),
}

/// That one file imports from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    /// The file that imports.
    pub(crate) from: PathBuf,
    /// The file that defines the name.
    pub(crate) to: PathBuf,
    /// The path as it is written.
    pub(crate) name: String,
}

/// Gives the text of a file; nothing if there is no such file.
pub(crate) type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

impl Tree {
    /// Reads a crate from the file of its root and those that it declares.
    ///
    /// # Errors
    /// A file that is declared and missing.
    pub(crate) fn new(root: &Path, read: Read<'_>) -> Result<Self, String> {
        let mut tree = Self { modules: Vec::new() };
        let text = read(root).ok_or_else(|| format!("there is no file {}", root.display()))?;
        let directory = root.parent().unwrap_or(Path::new("")).to_owned();
        tree.add(None, root, &directory, Source::new(&text), false, read)?;
        Ok(tree)
    }

    /// Adds a module and those below it, whose files are in `directory`.
    fn add(
        &mut self,
        parent: Option<Id>,
        file: &Path,
        directory: &Path,
        source: Source,
        test: bool,
        read: Read<'_>,
    ) -> Result<Id, String> {
        let Source { items, uses, mentions, modules } = source;
        let id = self.modules.len();
        let children = BTreeMap::new();
        self.modules.push(Module { file: file.to_owned(), parent, children, items, uses, mentions, test });
        for Declared { name, test: declared_for_tests, path, body } in modules {
            let below = directory.join(&name);
            let candidates = match &path {
                Some(path) => vec![normal(&file.with_file_name(path))],
                None => vec![below.with_extension("rs"), below.join("mod.rs")],
            };
            let (child_file, source) = match body {
                Some(body) => (file.to_owned(), body),
                None => candidates
                    .iter()
                    .find_map(|candidate| Some((candidate.clone(), Source::new(&read(candidate)?))))
                    .ok_or_else(|| format!("{} declares the module {name}, which has no file", file.display()))?,
            };
            // The modules below one with `#[path]` are in the directory of its file.
            let below = if path.is_some() { child_file.with_file_name("") } else { below };
            let child = self.add(Some(id), &child_file, &below, source, test || declared_for_tests, read)?;
            if let Some(module) = self.modules.get_mut(id) {
                module.children.insert(name, child);
            }
        }
        Ok(id)
    }

    /// What the files import from each other, apart from tests; sorted, each once.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for (id, module) in self.modules.iter().enumerate().filter(|(_, module)| !module.test) {
            let uses = module.uses.iter().filter(|leaf| !leaf.test).map(|leaf| (&leaf.path, leaf.glob));
            let mentions =
                module.mentions.iter().filter(|mention| !mention.test && !self.is_imported(id, &mention.path));
            let mentions = mentions.map(|mention| (&mention.path, false));
            for (path, glob) in uses.chain(mentions) {
                let Some(to) = self.resolve(id, path, &mut Vec::new()).and_then(|target| self.file(target)) else {
                    continue;
                };
                if *to != module.file {
                    let name = path.join("::") + if glob { "::*" } else { "" };
                    imports.push(Import { from: module.file.clone(), to: to.clone(), name });
                }
            }
        }
        imports.sort_unstable();
        imports.dedup();
        imports
    }

    /// Whether the path begins with an item that a `use` of the module names: that import counts already.
    fn is_imported(&self, id: Id, path: &[String]) -> bool {
        let uses = self.modules.get(id).into_iter().flat_map(|module| &module.uses);
        uses.filter(|leaf| leaf.name.as_ref() == path.first())
            .any(|leaf| matches!(self.resolve(id, &leaf.path, &mut Vec::new()), Some(Target::Item(_))))
    }

    /// All files of the crate, those of tests included.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.modules.iter().map(|module| module.file.as_path())
    }

    fn file(&self, target: Target) -> Option<&PathBuf> {
        let (Target::Module(id) | Target::Item(id) | Target::Foreign(id)) = target;
        self.modules.get(id).map(|module| &module.file)
    }

    /// What a path means in a module; nothing if it leads out of the crate.
    ///
    /// `seen` holds the names that are being looked up, against imports that go round in circles.
    fn resolve(&self, from: Id, path: &[String], seen: &mut Vec<(Id, String)>) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.modules.get(from)?.parent?),
            name => self.lookup(from, name, seen)?,
        };
        for part in rest {
            let Target::Module(id) = target else { break };
            target = match part.as_str() {
                "super" => Target::Module(self.modules.get(id)?.parent?),
                // What a macro defines is in no list: it is taken for the deepest module's own.
                name => self.lookup(id, name, seen).unwrap_or(Target::Item(id)),
            };
        }
        // A name of another crate counts only where somebody imports it from one of our modules.
        if rest.is_empty() && matches!(target, Target::Foreign(id) if id == from) { None } else { Some(target) }
    }

    /// What a name means in a module: a child, an item, an import, or one of a glob's.
    fn lookup(&self, id: Id, name: &str, seen: &mut Vec<(Id, String)>) -> Option<Target> {
        let module = self.modules.get(id)?;
        if let Some(child) = module.children.get(name) {
            return Some(Target::Module(*child));
        }
        if module.items.iter().any(|item| item == name) {
            return Some(Target::Item(id));
        }
        if seen.iter().any(|(seen_id, seen_name)| *seen_id == id && seen_name == name) {
            return None;
        }
        seen.push((id, name.to_owned()));
        let named = module.uses.iter().find(|leaf| leaf.name.as_deref() == Some(name));
        let found = match named {
            // `use log;` of another crate would look itself up again.
            Some(leaf) => Some(self.resolve(id, &leaf.path, seen).unwrap_or(Target::Foreign(id))),
            None => module.uses.iter().filter(|leaf| leaf.glob).find_map(|leaf| {
                let Some(Target::Module(within)) = self.resolve(id, &leaf.path, seen) else { return None };
                self.lookup(within, name, seen)
            }),
        };
        seen.pop();
        found
    }
}

/// The path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The imports of a crate that consists of these files, as `from -> to: name`, sorted.
    fn imports(files: &[(&str, &str)]) -> Vec<String> {
        let read =
            |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned());
        let tree = Tree::new(Path::new("lib.rs"), &read).unwrap();
        let text = |import: &Import| format!("{} -> {}: {}", import.from.display(), import.to.display(), import.name);
        let mut imports: Vec<String> = tree.imports().iter().map(text).collect();
        imports.sort_unstable();
        imports
    }

    #[test]
    fn a_path_leads_to_the_file_of_the_deepest_module() {
        let found = imports(&[
            ("lib.rs", "pub mod a; mod b { pub mod c; }"),
            ("a.rs", "mod d; use crate::b::c::Name; fn f() { super::b::c::g(); d::h() }"),
            ("a/d.rs", "use super::super::b::{self, c}; use self::e::E; mod e { pub struct E; use super::super::Up; }"),
            ("b/c.rs", "pub struct Name { field: crate::a::Unknown }"),
        ]);
        let expected = [
            "a.rs -> a/d.rs: d::h",
            "a.rs -> b/c.rs: crate::b::c::Name",
            "a.rs -> b/c.rs: super::b::c::g",
            "a/d.rs -> a.rs: super::super::Up",
            "a/d.rs -> b/c.rs: super::super::b::c",
            "a/d.rs -> lib.rs: super::super::b",
            "b/c.rs -> a.rs: crate::a::Unknown",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_that_a_parent_passes_on_counts_for_the_file_that_defines_it() {
        let found = imports(&[
            ("lib.rs", "mod index; mod other; pub use index::Patch as Change;"),
            ("index.rs", "mod patch; mod entry; pub use self::patch::*; pub use self::entry::Entry; pub struct Own;"),
            ("index/patch.rs", "pub struct Patch; use super::Entry;"),
            ("index/entry.rs", "pub enum Entry { One } pub use outside::Thing;"),
            (
                "other.rs",
                "use crate::index::{Patch, Own, entry::Thing}; use crate::Change; use crate::index::Entry::*;",
            ),
        ]);
        let expected = [
            "index.rs -> index/entry.rs: self::entry::Entry",
            "index.rs -> index/patch.rs: self::patch::*",
            "index/patch.rs -> index/entry.rs: super::Entry",
            "lib.rs -> index/patch.rs: index::Patch",
            "other.rs -> index.rs: crate::index::Own",
            "other.rs -> index/entry.rs: crate::index::Entry::*",
            "other.rs -> index/entry.rs: crate::index::entry::Thing",
            "other.rs -> index/patch.rs: crate::Change",
            "other.rs -> index/patch.rs: crate::index::Patch",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn modules_have_their_files_where_the_compiler_looks_for_them() {
        let found = imports(&[
            ("lib.rs", "mod a; #[path = \"a/../sim/mod.rs\"] mod sim; #[path = \"x_tests.rs\"] mod x;"),
            ("a/mod.rs", "mod b { mod c; }"),
            ("a/b/c.rs", "use crate::sim::clock::Time;"),
            ("sim/mod.rs", "pub mod clock;"),
            ("sim/clock.rs", ""),
            ("x_tests.rs", "mod y;"),
            ("y.rs", "use crate::a;"),
        ]);
        assert_eq!(found, ["a/b/c.rs -> sim/clock.rs: crate::sim::clock::Time", "y.rs -> a/mod.rs: crate::a"]);
    }

    #[test]
    fn tests_may_import_anything() {
        let found = imports(&[
            ("lib.rs", "mod a; #[cfg(test)] mod support;"),
            ("a.rs", "#[cfg(test)] use crate::support::x; #[cfg(test)] mod tests { use crate::support::y; }"),
            ("support.rs", "use crate::a::b; mod deeper;"),
            ("support/deeper.rs", "use crate::a::b;"),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn other_crates_and_imports_in_circles_do_no_harm() {
        let found = imports(&[
            ("lib.rs", "mod a; mod ipam; use ::ipam::X;"),
            (
                "a.rs",
                "use serde; use ipam::Y; use std::fmt; pub use self::b::*; mod b; fn f() { fmt::g(); Vec::new() }",
            ),
            ("a/b.rs", "pub use super::*; use super::Nothing; use super::fmt; fn f(x: super::fmt::Debug) {}"),
            ("ipam.rs", ""),
        ]);
        let expected = [
            "a.rs -> a/b.rs: self::b::*",
            "a/b.rs -> a.rs: super::*",
            "a/b.rs -> a.rs: super::Nothing",
            "a/b.rs -> a.rs: super::fmt",
            "a/b.rs -> a.rs: super::fmt::Debug",
        ];
        assert_eq!(found, expected);
    }
}
