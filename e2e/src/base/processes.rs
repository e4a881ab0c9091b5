//! Finds processes by their program and their ancestors, as `/proc` of the machine shows them.

use std::{fs, path::PathBuf};

/// All processes that this process can see.
pub(crate) fn all() -> Vec<i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// A process's arguments, its own name first; empty when it has ended.
pub(crate) fn arguments(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments: Vec<_> =
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    // The last argument is terminated as well.
    arguments.pop();
    arguments
}

/// The file name of the program that a process runs.
pub(crate) fn program(pid: i32) -> Option<String> {
    let path: PathBuf = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = path.file_name()?.to_str()?;
    Some(name.strip_suffix(" (deleted)").unwrap_or(name).to_owned())
}

/// Whether a process is there and not just waiting to be reaped.
pub(crate) fn alive(pid: i32) -> bool {
    status(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Whether `pid` is `ancestor` or descends from it.
pub(crate) fn descends_from(mut pid: i32, ancestor: i32) -> bool {
    while pid > 1 {
        if pid == ancestor {
            return true;
        }
        match status(pid) {
            Some((_, parent)) => pid = parent,
            None => return false,
        }
    }
    false
}

/// State and parent.
fn status(pid: i32) -> Option<(char, i32)> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<(char, i32)> {
    // The name, in parentheses, may itself contain blanks and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn reads_a_name_with_parentheses() {
        assert_eq!(parse("12 (a) b (c)) S 7 12 12 0 -1"), Some(('S', 7)));
    }

    #[test]
    fn finds_this_process() {
        let this = i32::try_from(process::id()).unwrap();
        assert!(all().contains(&this) && alive(this) && descends_from(this, this));
        assert!(program(this).unwrap().starts_with("e2e"));
        assert!(!arguments(this).is_empty());
    }
}
