//! Counts of writes, from the API server's own metrics.

use e2e::BenchResult as Result;
use std::collections::BTreeMap;

use http::Request;
use kube::Client;

/// The number of writes of each kind, such as `PATCH services/status 200`.
#[derive(Debug, Clone, Default)]
pub(super) struct Writes(BTreeMap<String, u64>);

impl Writes {
    /// The writes since the API server's start.
    pub(super) async fn read(client: &Client) -> Result<Self> {
        let text = client.request_text(Request::get("/metrics").body(Vec::new())?).await?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            let Some((labels, value)) =
                line.strip_prefix("apiserver_request_total{").and_then(|line| line.rsplit_once("} "))
            else {
                continue;
            };
            let label = |name: &str| {
                labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
            };
            let verb = label("verb").unwrap_or_default();
            if !matches!(verb, "POST" | "PUT" | "PATCH" | "APPLY") {
                continue;
            }
            let mut what = format!("{verb} {}", label("resource").unwrap_or_default());
            if let Some(subresource) = label("subresource").filter(|subresource| !subresource.is_empty()) {
                what = format!("{what}/{subresource}");
            }
            what = format!("{what} {}", label("code").unwrap_or_default());
            *counts.entry(what).or_default() += value.parse::<u64>().unwrap_or_default();
        }
        Self(counts)
    }

    /// The writes since an earlier count.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let news = self.0.iter().map(|(what, count)| {
            (what.clone(), count.saturating_sub(earlier.0.get(what).copied().unwrap_or_default()))
        });
        Self(news.filter(|(_, count)| *count > 0).collect())
    }

    /// Writes to Services after their creation, successful or not.
    pub(super) fn to_services(&self) -> u64 {
        let kinds = ["PATCH services", "PUT services", "APPLY services"];
        self.0.iter().filter(|(what, _)| kinds.iter().any(|kind| what.starts_with(kind))).map(|(_, count)| count).sum()
    }

    /// The writes of a kind, such as `POST events`.
    pub(super) fn of(&self, kind: &str) -> u64 {
        self.0.iter().filter(|(what, _)| what.starts_with(kind)).map(|(_, count)| count).sum()
    }

    /// All kinds with their numbers, as text.
    pub(super) fn listing(&self) -> String {
        let lines: Vec<_> = self.0.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        lines.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_api_server_prints() {
        let text = "# HELP\napiserver_request_total{code=\"200\",resource=\"services\",subresource=\"status\",verb=\"PATCH\"} 12\n\
            apiserver_request_total{code=\"409\",resource=\"services\",subresource=\"status\",verb=\"PATCH\"} 1\n\
            apiserver_request_total{code=\"201\",resource=\"services\",subresource=\"\",verb=\"POST\"} 12\n\
            apiserver_request_total{code=\"200\",resource=\"services\",subresource=\"\",verb=\"WATCH\"} 3\n";
        let writes = Writes::parse(text);
        assert_eq!(writes.to_services(), 13);
        assert_eq!(writes.of("POST services 201"), 12);
        assert_eq!(writes.since(&writes).listing(), "");
    }
}
