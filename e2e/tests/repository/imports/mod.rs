//! Imports run one way: no crate of the workspace has files that import each other in a circle.
//!
//! A file imports from the file that defines a name, whichever parent passes the name on with `pub use`. Paths in the
//! code count like `use`. That a module declares another is no import. Code that only tests see is read as well, but
//! may import anything of its crate.
//!
//! These modules need nothing but the standard library, so that one file and `rustc --test` are enough to try them.

mod circle;
mod source;
mod token;
mod tree;

use std::path::{Path, PathBuf};

use circle::circles;
use tree::Tree;

/// The directory of the workspace. Cargo says at run time where the package is.
fn workspace() -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).parent().unwrap().to_owned()
}

/// The directories of the workspace's crates.
fn members(workspace: &Path) -> Vec<String> {
    let manifest = std::fs::read_to_string(workspace.join("Cargo.toml")).unwrap();
    let list = manifest.lines().find_map(|line| line.strip_prefix("members = [")?.strip_suffix(']')).unwrap();
    list.split(',').map(|member| member.trim().trim_matches('"').to_owned()).collect()
}

/// The files at which the crates of one package begin: its library, programs, tests, benchmarks and examples.
fn roots(package: &Path) -> Vec<PathBuf> {
    let mut roots = vec![package.join("src/lib.rs"), package.join("src/main.rs")];
    for directory in ["src/bin", "tests", "benches", "examples"] {
        for entry in std::fs::read_dir(package.join(directory)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            roots.push(if is_source { path } else { path.join("main.rs") });
        }
    }
    roots.retain(|root| root.is_file());
    roots.sort_unstable();
    roots
}

/// Reads a file of the workspace by its path inside of it.
fn read(workspace: &Path, path: &Path) -> Option<String> {
    std::fs::read_to_string(workspace.join(path)).ok()
}

#[test]
fn imports_run_one_way() {
    let workspace = workspace();
    let mut found = Vec::new();
    for member in members(&workspace) {
        let mut text = String::new();
        for root in roots(&workspace.join(&member)) {
            let root = root.strip_prefix(&workspace).unwrap();
            let tree = Tree::new(root, &|path| read(&workspace, path)).unwrap();
            for circle in circles(&tree.imports()) {
                text += &circle.to_string();
            }
        }
        if !text.is_empty() {
            found.push(format!("{member}: {text}"));
        }
    }
    assert!(
        found.is_empty(),
        "imports run in circles; move what both need into a file of its own:\n{}",
        found.join("\n")
    );
}

/// What the walk does not reach is not checked.
#[test]
fn every_source_file_is_walked() {
    let workspace = workspace();
    for member in members(&workspace) {
        let package = workspace.join(&member);
        let mut walked = std::collections::BTreeSet::new();
        for root in roots(&package) {
            let tree = Tree::new(&root, &|path| read(&workspace, path)).unwrap();
            walked.extend(tree.files().map(Path::to_owned));
        }
        let mut directories = vec![package.join("src"), package.join("tests")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    assert!(walked.contains(&path), "{} belongs to no crate", path.display());
                }
            }
        }
    }
}
