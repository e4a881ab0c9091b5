//! Runs programs with a deadline. The error of a failed one contains its output.

use std::{
    io::Write,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::base::error::{Doing, Error, Result};

/// Longer than anything the lab runs should take, even on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs `command` and returns what it wrote to standard output.
///
/// # Errors
/// The program cannot be started, fails, or does not end in time.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    run_with_input(command, Vec::new())
}

/// Runs `command` with `input` on its standard input and returns what it wrote to standard output.
///
/// # Errors
/// The program cannot be started, fails, or does not end in time.
pub(crate) fn run_with_input(command: &mut Command, input: Vec<u8>) -> Result<String> {
    let line = command_line(command);
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| format!("start `{line}`"))?;
    let output = finish(child, input, &line)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        // Some programs complain on standard output only.
        let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        let stderr = String::from_utf8_lossy(said).trim().to_owned();
        Err(Error::Command { command: line, status: output.status.to_string(), stderr })
    }
}

fn finish(mut child: Child, input: Vec<u8>, line: &str) -> Result<Output> {
    let pid = i32::try_from(child.id()).ok();
    let (done, outcome) = mpsc::channel();
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input to the end reports the reason by its exit status.
        thread::spawn(move || stdin.write_all(&input));
    }
    thread::spawn(move || done.send(child.wait_with_output()));
    if let Ok(output) = outcome.recv_timeout(DEADLINE) {
        return output.doing(|| format!("wait for `{line}`"));
    }
    if let Some(pid) = pid {
        // It may have ended this very moment, which is as good.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    Err(Error::Deadline { what: format!("end of `{line}`"), deadline: DEADLINE, last: "it runs".into() })
}

fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error = run(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("no such luck") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(run_with_input(&mut Command::new("cat"), b"hello".to_vec()).unwrap(), "hello");
    }
}
