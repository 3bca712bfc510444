//! What a relay can be told.

use std::time::Duration;

use ggrok_protocol::Limits;

use crate::limits::available;
use crate::{Access, Host, Metrics, Pseudonym};

/// The settings of a relay. Where an app embeds it, those of connections are the app's own:
/// `idle_timeout`, `grace_period` and `connections` change nothing there.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may register, and reach mirrors.
    pub access: Access,
    /// The domain in whose hosts public mirrors are served: `blog` at `blog.DOMAIN`.
    pub domain: Option<Host>,
    /// Hosts by which clients and programs reach the relay itself. No owner is given one, unless the grant
    /// names it in full. Without them the relay goes by its domain, and by the hosts of valid requests.
    pub own_hosts: Vec<Host>,
    /// How many right-most hops of X-Forwarded-For are proxies of ours, and believed: 0 where
    /// visitors connect directly, 1 behind a platform's router.
    pub trusted_hops: usize,
    /// Whether visitors may speak HTTP/2 too, in the clear and by prior knowledge, on the same port.
    pub http2: bool,
    /// How the relay signs the requests that it forwards. Relays in a row need different ones.
    pub pseudonym: Pseudonym,
    /// How long a visitor's connection may be silent before its request head is whole, and between
    /// two requests. hyper has one knob for both.
    pub idle_timeout: Duration,
    /// How long calls in flight may take to finish when the relay stops.
    pub grace_period: Duration,
    /// Bytes of a request's fields. hyper's own limit is set to twice that: beyond it, it refuses
    /// without a word.
    pub head_limit: usize,
    /// How long after its start the relay lets requests for hosts wait that have no client. When a
    /// relay is replaced, its visitors come at once and its clients a moment later.
    pub settling_time: Duration,
    /// Connections that are served at a time, upgraded ones among them, but no client's that has registered.
    /// For a further one an idle connection is closed; where none is idle, it is answered with 503, unless it is
    /// a client's that may register.
    pub connections: usize,
    /// Calls that are under way at a time, of all tunnels together. Further ones are answered with 503.
    pub calls: usize,
    /// Connections of one address, and calls that it has under way at hosts, at a time. Behind trusted hops
    /// all connections are theirs, and only calls count. The networks of IPv6 (64 bits) count as one, and
    /// so do all whose address nobody knows.
    pub per_address: usize,
    /// How long a visitor may be waited for until 1 KiB has come of a body whose length it told.
    pub body_pace: Duration,
    /// Clients that may be registered at a time, and hosts and names that are remembered for their
    /// owners without one.
    pub tunnels: usize,
    /// Clients that one owner may have registered at a time.
    pub tunnels_of_one: usize,
    /// Wrong tokens that an address may give in a minute. Beyond, it is refused until the minute is over,
    /// except with a right token that is strong. A person mistypes less often, and guesses get nowhere. The networks of
    /// IPv6 (64 bits) count as one address, and so do all whose address trusted hops do not tell.
    pub wrong_tokens: u32,
    /// Bytes of memory that the relay spends on visitors and their calls: windows, heads, bodies, buffers.
    /// Where they are short, the address that has most of them gives way. By default half of what the
    /// process may have: of its cgroup's limit or the machine's memory, and of its address space.
    pub memory: usize,
    /// Where the relay counts what happens.
    pub metrics: Metrics,
    /// Who may read the metrics at `/_ggrok/metrics`. Without it there is no such page.
    pub metrics_access: Option<Access>,
    /// The bounds of each tunnel.
    pub limits: Limits,
}

impl Config {
    /// The default settings, for a relay with this access and so many trusted hops.
    #[must_use]
    pub fn new(access: Access, trusted_hops: usize) -> Self {
        Self {
            access,
            domain: None,
            own_hosts: Vec::new(),
            trusted_hops,
            http2: false,
            pseudonym: Pseudonym::default(),
            idle_timeout: Self::default_idle_timeout(trusted_hops),
            grace_period: Duration::from_secs(25),
            head_limit: 64 << 10,
            settling_time: Duration::from_secs(5),
            connections: 4096,
            calls: 4096,
            per_address: 1024,
            body_pace: Duration::from_secs(60),
            tunnels: 10_000,
            tunnels_of_one: 10_000,
            wrong_tokens: 10,
            memory: available::default_budget(),
            metrics: Metrics::new(),
            metrics_access: None,
            limits: Limits::default(),
        }
    }

    /// A router keeps idle connections to us and must be the first to close them, or it loses
    /// requests: Heroku's does so after 90 s. A visitor who connects directly gets less patience.
    #[must_use]
    pub const fn default_idle_timeout(trusted_hops: usize) -> Duration {
        Duration::from_secs(if trusted_hops == 0 { 15 } else { 95 })
    }
}
