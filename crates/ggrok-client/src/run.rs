//! A client's life: connect, serve, and connect again.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use ggrok_protocol::{Ending, SessionError};
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::connect::Connector;
use crate::local::Local;
use crate::serve::{Observer, serve};
use crate::{Config, Event, RunError};

/// Shows a local server at a relay's address until `shutdown` is done, and connects again whenever
/// the connection is lost. `observer` is told what happens; it must not block.
///
/// # Errors
/// Where trying again is pointless: see [`ConnectError::is_final`](crate::ConnectError::is_final),
/// and [`RunError::Replaced`].
pub async fn run(
    config: Config,
    observer: impl Fn(Event) + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let client = Client {
        connector: Connector::new(config.clone())?,
        local: Arc::new(Local::new(config.local.clone(), config.local_timeout)),
        observer: Arc::new(observer),
        config,
    };
    let shutdown = pin!(shutdown);
    tokio::select! {
        ended = client.stay_connected(shutdown) => ended,
        never = client.tend_local() => match never {},
    }
}

struct Client {
    config: Config,
    connector: Connector,
    local: Arc<Local>,
    observer: Observer,
}

impl Client {
    async fn stay_connected(
        &self,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), RunError> {
        let mut backoff = Backoff::new();
        let mut met = false;
        loop {
            let connected = tokio::select! {
                connected = self.connector.connect() => connected,
                () = &mut shutdown => return Ok(()),
            };
            let reason = match connected {
                Ok(socket) => {
                    met = true;
                    let url = self.config.relay.public_url();
                    (self.observer)(Event::Ready { url });
                    let since = Instant::now();
                    let limits = self.config.limits;
                    let served = serve(
                        socket,
                        limits,
                        &self.local,
                        &self.observer,
                        shutdown.as_mut(),
                    );
                    let Some(ended) = served.await else {
                        return Ok(());
                    };
                    if since.elapsed() >= LASTING {
                        backoff.reset();
                    }
                    reason(ended)?
                }
                Err(error) if error.is_final(met) => return Err(error.into()),
                Err(error) => error.to_string(),
            };
            let retry_in = backoff.next();
            (self.observer)(Event::Waiting { reason, retry_in });
            tokio::select! {
                () = sleep(retry_in) => {}
                () = &mut shutdown => return Ok(()),
            }
        }
    }

    /// Tells whether the local server is there, and closes idle connections to it.
    async fn tend_local(&self) -> Infallible {
        if !self.local.answers().await {
            let address = self.local.address().clone();
            (self.observer)(Event::LocalDown { address });
        }
        self.local.close_idle().await
    }
}

/// Why a tunnel ended, for the person.
fn reason(ended: Result<Ending, SessionError>) -> Result<String, RunError> {
    match ended {
        Ok(Ending::Replaced) => Err(RunError::Replaced),
        Ok(ending) => Ok(format!(
            "the relay closed the connection ({})",
            ending.reason()
        )),
        Err(error) => Ok(error.to_string()),
    }
}

/// A connection that lasted so long was a good one.
const LASTING: Duration = Duration::from_secs(10);
