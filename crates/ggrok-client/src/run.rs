//! A client's life: connect, serve, and connect again.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use ggrok_protocol::{Ending, Limits, SessionError};
use http::Version;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::connect::{Connector, Registered};
use crate::connections::Connections;
use crate::host_check::HostChecks;
use crate::local::Local;
use crate::monitor::Monitor;
use crate::serve::Service;
use crate::{Config, ConnectError, Event, RunError, Upstream};

/// Shows a local server, or a service in its place, at a relay's address until `shutdown` is done and
/// the calls that run then have finished ([`Config::grace_period`]), and connects again whenever the
/// connection is lost. After the machine slept, or its network changed, it finds out at once whether that is
/// so. Where the relay says that it will stop, the next connection is opened while the
/// calls of the old one finish. `observer` is told what happens; it must not block. Dropping the future
/// ends all at once.
///
/// # Errors
/// Where trying again is pointless: see [`ConnectError::is_final`](crate::ConnectError::is_final),
/// and the other [`RunError`]s.
pub async fn run(
    config: Config,
    observer: impl Fn(Event) + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let stop = CancellationToken::new();
    let monitor = Monitor::new();
    let service = Service {
        local: Arc::new(Local::new(&config)),
        observer: Arc::new(observer),
        host_checks: Arc::new(HostChecks::new(&config)),
        limits: Limits {
            call_timeout: config.local_timeout,
            ..config.limits
        },
        stop: stop.clone(),
        grace_period: config.grace_period,
        changes: monitor.changes(),
    };
    let client = Running {
        connector: Connector::new(config)?,
        service,
        monitor,
    };
    let stopping = async {
        shutdown.await;
        stop.cancel();
        pending().await
    };
    tokio::select! {
        ended = client.stay_connected() => ended,
        never = client.tend_local() => match never {},
        never = client.monitor.watch() => match never {},
        never = stopping => never,
    }
}

/// A client that runs.
struct Running {
    connector: Connector,
    service: Service,
    monitor: Monitor,
}

impl Running {
    async fn stay_connected(&self) -> Result<(), RunError> {
        let mut backoff = Backoff::new();
        let mut met = false;
        let mut attempts = 0;
        let mut connections = Connections::new();
        while let Some(connected) = self.unless_stopped(self.connect(attempts == 0)).await {
            let mut at_once = false;
            let reason = match connected {
                Ok(registered) => {
                    met = true;
                    attempts = 0;
                    self.monitor.dialled(registered.peer);
                    self.tell(&registered);
                    let since = Instant::now();
                    let served = connections.serve(registered, &self.service).await;
                    let was_called = served.as_ref().is_some_and(|served| served.was_called);
                    if was_called || since.elapsed() >= LASTING {
                        backoff.reset();
                    }
                    match served {
                        Some(served) => {
                            // Only this client has noticed, so others do not come back at the same time.
                            at_once = matches!(served.ended, Err(SessionError::Dead))
                                && backoff.spend_first();
                            reason(served.ended)?
                        }
                        None if backoff.spend_first() => continue,
                        None => {
                            "the relay will stop, and has only just let this client in".to_owned()
                        }
                    }
                }
                Err(error) if error.is_final(met) => return Err(error.into()),
                Err(error) => {
                    attempts += 1;
                    error.to_string()
                }
            };
            if self.service.stop.is_cancelled() {
                break;
            }
            let retry_in = if at_once {
                Duration::ZERO
            } else {
                backoff.next()
            };
            (self.service.observer)(Event::Waiting {
                reason,
                attempts,
                retry_in,
            });
            let mut changes = self.monitor.changes();
            tokio::select! {
                () = sleep(retry_in) => {}
                () = changes.next() => backoff.reset(),
                () = self.service.stop.cancelled() => {}
            }
        }
        connections.finish().await;
        Ok(())
    }

    /// Connects, and begins anew where the machine slept or its network changes meanwhile.
    async fn connect(&self, is_first: bool) -> Result<Registered, ConnectError> {
        loop {
            let mut changes = self.monitor.changes();
            tokio::select! {
                connected = self.connector.connect() => return connected,
                never = self.tell_connecting(), if is_first => match never {},
                () = changes.next() => {}
            }
        }
    }

    /// Tells what is dialled where that takes long.
    async fn tell_connecting(&self) -> Infallible {
        sleep(LONG).await;
        let to = self.connector.target().to_owned();
        (self.service.observer)(Event::Connecting { to });
        pending().await
    }

    /// Tells that the relay let the client in.
    fn tell(&self, registered: &Registered) {
        let url = registered.url.clone();
        (self.service.observer)(Event::Ready { url });
        if registered.lacks_visitors {
            let has_rules = self.connector.has_rules();
            (self.service.observer)(Event::NotPublic { has_rules });
        }
    }

    async fn unless_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        self.service.stop.run_until_cancelled(future).await
    }

    /// Tells whether the local server is there, and closes idle connections to it.
    async fn tend_local(&self) -> Infallible {
        let local = &self.service.local;
        let looking = async {
            if let Upstream::Address(address) = local.upstream()
                && local.upstream().open(Version::HTTP_11).await.is_err()
            {
                let address = address.clone();
                (self.service.observer)(Event::LocalDown { address });
            }
        };
        // From the start: nothing else knows how old a connection is.
        let ((), never) = tokio::join!(looking, local.close_idle());
        never
    }
}

/// Why a tunnel ended, for the person.
fn reason(ended: Result<Ending, SessionError>) -> Result<String, RunError> {
    match ended {
        Ok(Ending::Replaced) => Err(RunError::Replaced),
        Ok(Ending::Removed) => Err(RunError::Removed),
        Ok(ending) => Ok(format!(
            "the relay closed the connection ({})",
            ending.reason()
        )),
        Err(error) => Ok(error.to_string()),
    }
}

/// How long a person waits without a word.
const LONG: Duration = Duration::from_secs(1);

/// A connection that lasted so long, or over which a call came, was a good one.
const LASTING: Duration = Duration::from_secs(1);
