//! Writes the custom resource definitions into the directory of its argument, or prints them.

use std::path::Path;
use std::process::ExitCode;

use crds::CrdError;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crds: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), CrdError> {
    if let Some(directory) = std::env::args_os().nth(1) {
        return crds::write(Path::new(&directory));
    }
    for (_, yaml) in crds::files()? {
        println!("---\n{yaml}");
    }
    Ok(())
}
