//! The processor time and the memory that the agent uses when nothing happens.

use e2e::BenchResult as Result;
use std::time::Duration;

use e2e::{Memory, processor_time};

use crate::{
    setup::{Bench, PATIENCE},
    table::Line,
};

/// After this time, the work after the last change is done.
const BEFORE: Duration = Duration::from_secs(10);

/// Measures the agent at rest for a time, with a number of addresses.
pub(crate) async fn measure(bench: &Bench, addresses: u32, rest: Duration) -> Result<Vec<Line>> {
    bench.cluster.agents_ready(PATIENCE).await?;
    tokio::time::sleep(BEFORE).await;
    let pid = bench.node.agent_pid()?;
    let before = processor_time(pid)?;
    tokio::time::sleep(rest).await;
    let used = processor_time(pid)?.saturating_sub(before).as_secs_f64() / rest.as_secs_f64() * 100.0;
    let memory = Memory::of(pid)?;
    println!("at rest with {addresses} addresses: {used:.2} % of one core, {:.1} MB", memory.now);
    let what = format!("processor at rest for {} s with {addresses} addresses, of one core", rest.as_secs());
    Ok(vec![
        Line::new(what, format!("{used:.2} %")).aim("under 0.5 %", used < 0.5),
        Line::new("  memory", format!("{:.1} MB", memory.now)).aim("at most 40 MB", memory.now <= 40.0),
    ])
}
