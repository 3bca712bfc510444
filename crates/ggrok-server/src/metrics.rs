//! What the relay counts, and the text by which Prometheus reads it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use ggrok_protocol::{Broken, Dialect, Memory};
use http::StatusCode;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// What a relay counts. Clones are the same; nothing is shared with another relay's. Labels come from
/// fixed lists, never from a visitor: so there are at most some two hundred series.
#[derive(Clone)]
pub struct Metrics(Arc<Counts>);

pub(crate) struct Counts {
    registry: Registry,
    /// 1 while the relay takes new tunnels and visitors.
    pub(crate) ready: IntGauge,
    tunnels: IntGaugeVec,
    pub(crate) connections: IntGauge,
    pub(crate) upgraded: IntGauge,
    pub(crate) calls_in_flight: IntGauge,
    calls: IntCounterVec,
    /// Calls that the app answered, by the class of the status.
    answered: [IntCounter; 6],
    refusals: IntCounterVec,
    sheds: [IntCounter; Shed::ALL.len()],
    evicted: [IntCounter; Evicted::ALL.len()],
    /// Responses of the app's that ended before their end.
    broken: [IntCounter; Broken::ALL.len()],
    /// Bytes of bodies, from visitors and to them.
    pub(crate) received: IntCounter,
    pub(crate) sent: IntCounter,
    hops: [Histogram; Hop::ALL.len()],
    open_files: IntGauge,
    memory: OnceLock<Memory>,
    memory_used: IntGauge,
    memory_limit: IntGauge,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hop {
    /// The tunnel took the request: its head is on its way to the client.
    Tunnel,
    /// The response's head is there.
    Head,
    /// The response's body has ended, or was given up.
    Whole,
}

impl Hop {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Tunnel, "tunnel"),
        (Self::Head, "head"),
        (Self::Whole, "whole"),
    ];
}

/// Why somebody was turned away early.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shed {
    /// The relay serves as many connections as it may.
    Connections,
    /// An address has as many connections or calls as it may.
    Address,
    /// As many calls are under way as may be.
    Calls,
    /// Memory is short.
    Memory,
    /// The system had no file left for a connection.
    Files,
}

impl Shed {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Connections, "connections"),
        (Self::Address, "address"),
        (Self::Calls, "calls"),
        (Self::Memory, "memory"),
        (Self::Files, "files"),
    ];
}

/// Why a connection was closed for a new one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Evicted {
    /// No request was under way on it.
    Idle,
    /// No byte had moved for long, and its address had many connections.
    Stalled,
    /// Its unfinished head took memory that another needed.
    Memory,
}

impl Evicted {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Idle, "idle"),
        (Self::Stalled, "stalled"),
        (Self::Memory, "memory"),
    ];
}

/// Where a request was refused that became no call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Desk {
    /// Before it was known for whom it is.
    Request,
    /// When a client registered.
    Registration,
    /// At the relay's own pages, the APIs above all.
    Api,
}

impl Desk {
    const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Registration => "registration",
            Self::Api => "api",
        }
    }
}

impl Metrics {
    /// Starts to count, from nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Counts::new()))
    }

    /// Everything that was counted, in Prometheus's text format 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        if let Some(open) = open_files() {
            self.0.open_files.set(open);
        }
        if let Some(memory) = self.0.memory.get() {
            self.0.memory_used.set(gauge_value(memory.used()));
            self.0.memory_limit.set(gauge_value(memory.limit()));
        }
        let gathered = self.0.registry.gather();
        TextEncoder::new()
            .encode_to_string(&gathered)
            .expect("all families have samples and a text can be written to")
    }

    /// Shows the state of a relay's budget of memory. The first relay counts.
    pub(crate) fn show_memory(&self, memory: Memory) {
        self.0.memory.get_or_init(|| memory);
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.0
    }

    /// Counts one up until the guard is dropped.
    pub(crate) fn during(&self, gauge: fn(&Counts) -> &IntGauge) -> During {
        During::new(gauge(&self.0).clone())
    }

    /// Counts a tunnel until the guard is dropped.
    pub(crate) fn tunnel(&self, dialect: Dialect) -> During {
        During::new(self.0.tunnels.with_label_values(&[&*dialect.to_string()]))
    }
}

impl Counts {
    fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name, help| kept(&registry, IntGauge::new(name, help));
        let counter = |name, help| kept(&registry, IntCounter::new(name, help));
        let counters = |name: &str, help: &str, labels: &[&str]| {
            kept(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let calls = counters(
            "ggrok_calls_total",
            "Calls that have an outcome: answered by the app, with the class of its status, or the code of the relay's own answer, or left by the visitor.",
            &["outcome", "status"],
        );
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];
        let shed = counters(
            "ggrok_sheds_total",
            "Connections and calls that were turned away early, for lack of room.",
            &["reason"],
        );
        let evicted = counters(
            "ggrok_evicted_connections_total",
            "Connections that were closed to make room for new ones.",
            &["reason"],
        );
        let broken = counters(
            "ggrok_broken_responses_total",
            "Responses of the app whose body ended before its end.",
            &["reason"],
        );
        let durations = HistogramOpts::new(
            "ggrok_call_duration_seconds",
            "Time from a request's head until the tunnel took it, until the head of the response, and until the whole call was over.",
        );
        let durations = durations.buckets(BUCKETS.to_vec());
        let durations = kept(&registry, HistogramVec::new(durations, &["hop"]));
        let tunnels = Opts::new("ggrok_tunnels", "Clients that are registered.");
        let tunnels = kept(&registry, IntGaugeVec::new(tunnels, &["dialect"]));
        for dialect in Dialect::ALL {
            tunnels.with_label_values(&[&*dialect.to_string()]);
        }
        let build = Opts::new("ggrok_build_info", "1, with the version of the relay.");
        let build = kept(&registry, IntGaugeVec::new(build, &["version"]));
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            ready: gauge(
                "ggrok_ready",
                "1 while the relay takes new tunnels and visitors, 0 from when it stops.",
            ),
            tunnels,
            connections: gauge(
                "ggrok_connections",
                "Connections of visitors, and of clients that register, that are open.",
            ),
            upgraded: gauge(
                "ggrok_upgraded_connections",
                "Visitors' connections that became another protocol's, like a WebSocket's.",
            ),
            calls_in_flight: gauge("ggrok_calls_in_flight", "Calls that are under way."),
            answered: classes.map(|class| calls.with_label_values(&["answered", class])),
            calls,
            refusals: counters(
                "ggrok_refusals_total",
                "Requests that became no call: where they were refused, and the code of the error.",
                &["at", "reason"],
            ),
            sheds: Shed::ALL.map(|(_, reason)| shed.with_label_values(&[reason])),
            evicted: Evicted::ALL.map(|(_, reason)| evicted.with_label_values(&[reason])),
            broken: Broken::ALL.map(|why| broken.with_label_values(&[why.code()])),
            received: counter(
                "ggrok_received_bytes_total",
                "Bytes of bodies and upgraded connections, from visitors.",
            ),
            sent: counter(
                "ggrok_sent_bytes_total",
                "Bytes of bodies and upgraded connections, to visitors.",
            ),
            hops: Hop::ALL.map(|(_, hop)| durations.with_label_values(&[hop])),
            open_files: gauge("process_open_fds", "Files that the process has open."),
            memory: OnceLock::new(),
            memory_used: gauge(
                "ggrok_memory_bytes",
                "Memory that is reserved for visitors and their calls.",
            ),
            memory_limit: gauge(
                "ggrok_memory_limit_bytes",
                "Memory that may be reserved for visitors and their calls.",
            ),
            registry,
        }
    }

    /// Counts a call that the app answered.
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        let last = self.answered.len() - 1;
        let class = if (1..=5).contains(&class) {
            class - 1
        } else {
            last
        };
        self.answered[class].inc();
    }

    /// Counts a call that got an answer of the relay's own.
    pub(crate) fn failed(&self, code: &'static str, status: StatusCode) {
        let class = match status.as_u16() / 100 {
            2 => "2xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.calls.with_label_values(&[code, class]).inc();
    }

    /// Counts a call whose visitor left before there was an answer.
    pub(crate) fn left(&self) {
        self.calls.with_label_values(&["left", "none"]).inc();
    }

    /// Counts a request that became no call.
    pub(crate) fn refused(&self, at: Desk, code: &'static str) {
        self.refusals.with_label_values(&[at.name(), code]).inc();
    }

    /// Counts somebody who was turned away.
    pub(crate) fn shed(&self, why: Shed) {
        self.sheds[why as usize].inc();
    }

    /// Counts a connection that was closed for a new one.
    pub(crate) fn evicted(&self, why: Evicted) {
        self.evicted[why as usize].inc();
    }

    /// Counts a response that ended before its end.
    pub(crate) fn broke(&self, why: Broken) {
        self.broken[why as usize].inc();
    }

    /// Notes how long it took a call to come so far.
    pub(crate) fn reached(&self, hop: Hop, seconds: f64) {
        self.hops[hop as usize].observe(seconds);
    }
}

/// Makes a metric one of the registry's.
fn kept<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let metric = made.expect("names and labels are valid");
    let registered = registry.register(Box::new(metric.clone()));
    registered.expect("each name is registered once");
    metric
}

fn gauge_value(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Files that this process has open, where the system tells.
fn open_files() -> Option<i64> {
    let files = std::fs::read_dir("/proc/self/fd").ok()?;
    // The one by which they are listed is among them.
    i64::try_from(files.count().saturating_sub(1)).ok()
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Counts one more in a gauge until it is dropped.
#[must_use]
pub(crate) struct During(IntGauge);

impl During {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for During {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Upper bounds in seconds: from what loopback takes to what a long poll does.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 300.0,
];

#[cfg(test)]
mod tests {
    use super::{Desk, Hop, Metrics, Shed};
    use http::StatusCode;

    #[test]
    fn counts_by_labels_of_fixed_lists() {
        let metrics = Metrics::new();
        let counts = metrics.counts();
        counts.answered(StatusCode::NOT_FOUND);
        counts.answered(StatusCode::from_u16(799).unwrap());
        counts.failed("offline", StatusCode::SERVICE_UNAVAILABLE);
        counts.refused(Desk::Registration, "wrong-token");
        counts.shed(Shed::Files);
        counts.reached(Hop::Whole, 0.003);
        let text = metrics.text();
        for line in [
            r#"ggrok_calls_total{outcome="answered",status="4xx"} 1"#,
            r#"ggrok_calls_total{outcome="answered",status="other"} 1"#,
            r#"ggrok_calls_total{outcome="answered",status="2xx"} 0"#,
            r#"ggrok_calls_total{outcome="offline",status="5xx"} 1"#,
            r#"ggrok_refusals_total{at="registration",reason="wrong-token"} 1"#,
            r#"ggrok_sheds_total{reason="files"} 1"#,
            r#"ggrok_sheds_total{reason="connections"} 0"#,
            r#"ggrok_call_duration_seconds_bucket{hop="whole",le="0.0025"} 0"#,
            r#"ggrok_call_duration_seconds_bucket{hop="whole",le="0.005"} 1"#,
            r#"ggrok_call_duration_seconds_count{hop="head"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn counts_what_is_there_until_it_goes() {
        let metrics = Metrics::new();
        let there = metrics.during(|counts| &counts.connections);
        assert_eq!(metrics.counts().connections.get(), 1);
        drop(there);
        assert_eq!(metrics.counts().connections.get(), 0);
    }
}
