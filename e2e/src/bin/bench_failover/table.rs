//! Prints the table.

use crate::{
    figures::{Many, Sample, millis},
    lines::{LINES, Line},
};

/// The columns' titles: two lines.
const HEAD: [[&str; 11]; 2] = [
    ["", "", "without an answer, ms", "", "two answers, ms", "", "", "failed", "", "without, ms", ""],
    ["event", "runs", "IPv4", "IPv6", "IPv4", "IPv6", "moves", "TCP", "aim, ms", "PureLB 0.17", "MetalLB 0.16"],
];

/// Prints a line for each kind of sample, in the order of [`LINES`], and the notes below.
pub(crate) fn print(samples: &[Sample]) {
    let mut rows: Vec<Vec<String>> = HEAD.iter().map(|row| row.iter().map(|&word| word.to_owned()).collect()).collect();
    let mut notes = Vec::new();
    for line in &LINES {
        let mine: Vec<&Sample> = samples.iter().filter(|sample| sample.line == line.name).collect();
        if !mine.is_empty() {
            rows.push(cells(line, &mine));
            let remarks = mine.iter().flat_map(|sample| sample.remarks());
            notes.extend(remarks.map(|remark| format!("{}: {remark}", line.name)));
        }
    }
    for row in &rows {
        let text = row.iter().enumerate().map(|(column, cell)| {
            let width = rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or_default();
            format!("{cell:width$}")
        });
        println!("{}", text.collect::<Vec<_>>().join("  ").trim_end());
    }
    println!("\nPairs are median and worst of all runs; failed TCP connections are medians, IPv4 and IPv6.");
    notes.dedup();
    for note in notes {
        println!("{note}");
    }
}

fn cells(line: &Line, samples: &[&Sample]) -> Vec<String> {
    let families = [Many::of(samples, 0), Many::of(samples, 1)];
    let each = |text: &dyn Fn(&Many) -> String| {
        families.each_ref().map(|many| if many.is_empty() { "-".to_owned() } else { text(many) })
    };
    let [without4, without6] = each(&|many| {
        let (median, worst) = many.median_and_worst(|figures| figures.longest);
        format!("{} / {}", millis(median), millis(worst))
    });
    let [double4, double6] = each(&|many| {
        let (median, worst) = many.median_and_worst(|figures| figures.double);
        format!("{} / {}", millis(median), millis(worst))
    });
    let moves = families.iter().map(|many| many.median_and_worst(|figures| figures.moves).1).max().unwrap_or_default();
    let tcp = each(&|many| many.median_and_worst(|figures| figures.failed).0.to_string()).join(", ");
    let met =
        samples.iter().all(|sample| sample.good) && families.iter().all(|many| many.is_empty() || line.aim.met(many));
    let aim = format!("{}: {}", line.words, if met { "yes" } else { "NO" });
    let [one, other] = line.peers.map(str::to_owned);
    vec![
        line.what.to_owned(),
        samples.len().to_string(),
        without4,
        without6,
        double4,
        double6,
        moves.to_string(),
        tcp,
        aim,
        one,
        other,
    ]
}
