//! A client in this process.

use ggrok_client::{Config, Event, LocalAddress, RelayAddress, RunError, run};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Origin, PATIENCE, Relay};

/// A client of a relay. Dropping it ends it at once.
pub struct Client {
    events: mpsc::Receiver<Event>,
    shutdown: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<Result<(), RunError>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Starts a client and waits until the relay has let it in.
    pub async fn start(relay: &Relay, origin: &Origin) -> Self {
        Self::ready(config(relay, origin)).await
    }

    /// Starts a client with these settings and waits until the relay has let it in.
    pub async fn ready(config: Config) -> Self {
        let mut client = Self::launch(config);
        client.await_ready().await;
        client
    }

    /// Starts a client with these settings.
    pub fn launch(config: Config) -> Self {
        let (sender, events) = mpsc::channel(10_000);
        let (shutdown, stop) = oneshot::channel();
        let observer = move |event| sender.try_send(event).unwrap();
        let task = tokio::spawn(run(config, observer, async { stop.await.unwrap() }));
        Self {
            events,
            shutdown: Some(shutdown),
            task,
        }
    }

    /// The next event, but those that tell of a busy machine alone.
    pub async fn event(&mut self) -> Event {
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await;
            let event = event.expect("no event in time");
            let event = event.expect("the client has ended");
            if !matches!(event, Event::Connecting { .. }) {
                return event;
            }
        }
    }

    /// The next event, whatever it tells.
    pub async fn any_event(&mut self) -> Event {
        let event = timeout(PATIENCE, self.events.recv()).await;
        event
            .expect("no event in time")
            .expect("the client has ended")
    }

    /// Waits until the relay has let the client in, and returns the public address.
    pub async fn await_ready(&mut self) -> String {
        loop {
            if let Event::Ready { url } = self.event().await {
                return url;
            }
        }
    }

    /// Waits for the next call that was answered.
    pub async fn answered(&mut self) -> Event {
        loop {
            let event = self.event().await;
            if matches!(event, Event::Answered { .. }) {
                return event;
            }
        }
    }

    /// Asks the client to stop, and waits until it has.
    pub async fn stop(mut self) -> Result<(), RunError> {
        self.begin_to_stop();
        self.ended().await
    }

    /// Asks the client to stop.
    pub fn begin_to_stop(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            shutdown.send(()).unwrap();
        }
    }

    /// Waits until the client has ended by itself.
    pub async fn ended(&mut self) -> Result<(), RunError> {
        let ended = timeout(PATIENCE, &mut self.task).await;
        ended.expect("the client did not end").unwrap()
    }
}

/// The settings of a client between this relay and this local server.
pub fn config(relay: &Relay, origin: &Origin) -> Config {
    let relay: RelayAddress = relay.address.to_string().parse().unwrap();
    let local: LocalAddress = origin.address.to_string().parse().unwrap();
    Config::new(relay, local)
}
