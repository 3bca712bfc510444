//! The calls of one connection, answered until it ends.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use ggrok_protocol::{
    Arrival, BodyLength, Dialect, Ending, IncomingCall, Limits, OnWake, REQUEST_ID, Responded,
    Responder, SessionError, TunnelBody, accept,
};
use ggrok_websocket::WebSocket;
use http::Request;
use http::header::{ACCEPT, HOST};
use http_body_util::Full;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::connect::Stream;
use crate::host_check::HostChecks;
use crate::local::{Local, Replied};
use crate::monitor::Changes;
use crate::{Event, upgrade};

/// Who watches a client.
pub(crate) type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// How a connection was.
pub(crate) struct Served {
    pub(crate) ended: Result<Ending, SessionError>,
    /// Whether a call came over it.
    pub(crate) was_called: bool,
}

/// What answering needs.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) local: Arc<Local>,
    pub(crate) observer: Observer,
    pub(crate) host_checks: Arc<HostChecks>,
    pub(crate) limits: Limits,
    /// When to stop: then the relay is told, and the calls that run may finish.
    pub(crate) stop: CancellationToken,
    /// How long they may take for that.
    pub(crate) grace_period: Duration,
    /// Changes of the machine that may have cut the connection.
    pub(crate) changes: Changes,
}

impl Service {
    /// Answers the calls that come over a transport until it ends, and returns how it was. `going_away` is
    /// cancelled when the relay says that it will stop.
    pub(crate) async fn serve(
        self,
        mut socket: WebSocket<Stream>,
        dialect: Dialect,
        going_away: CancellationToken,
    ) -> Served {
        let service = Arc::new(self);
        let (mut incoming, session) = accept(dialect, service.limits);
        socket.limit_messages(session.message_limit());
        let session = pin!(session.run(socket));
        let mut session = OnWake::new(session);
        let mut answers = JoinSet::new();
        let mut was_called = false;
        let stopped = pin!(service.stop.cancelled());
        let mut stopped = OnWake::new(stopped);
        let changes = pin!(service.changes.clone().into_stream());
        let mut changes = OnWake::new(changes);
        let mut deadline = None;
        loop {
            tokio::select! {
                // What came with one message is taken before the next is looked for.
                biased;
                Some(arrival) = incoming.next() => match arrival {
                    Arrival::Call(call) => {
                        was_called = true;
                        let span = span(&call.request);
                        let IncomingCall { request, responder } = call;
                        let answering = answer(request, responder, dialect, Arc::clone(&service));
                        // In a box, since a span and a task move the future that they are given.
                        answers.spawn(Box::pin(answering).instrument(span));
                    }
                    Arrival::GoAway => going_away.cancel(),
                },
                Some(_) = answers.join_next() => {}
                ended = &mut session => return Served { ended, was_called },
                () = &mut stopped, if deadline.is_none() => {
                    deadline = Some(Instant::now() + service.grace_period);
                    incoming.go_away();
                    if !answers.is_empty() && !service.grace_period.is_zero() {
                        (service.observer)(Event::Finishing { at_most: service.grace_period });
                    }
                }
                Some(()) = changes.next() => incoming.probe(),
                () = reached(deadline) => break,
            }
        }
        // The relay hears which calls are given up before it hears that the tunnel ends.
        answers.shutdown().await;
        drop(incoming);
        let ended = session.await;
        Served { ended, was_called }
    }
}

/// Waits for a time that may not be set yet, and then is not waited for.
async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// What the log says with all that concerns a call: its name is the one that the relay's log has.
fn span<B>(request: &Request<B>) -> Span {
    let id = || request.headers().get(REQUEST_ID)?.to_str().ok();
    let (method, path) = (request.method(), request.uri().path());
    tracing::debug_span!("call", id = id(), %method, path)
}

/// Answers one call: with the local server's response, or with the reason why there is none. Where
/// nobody wants the answer any more, the request to the local server ends with this.
async fn answer(
    request: Box<Request<TunnelBody>>,
    responder: Responder,
    dialect: Dialect,
    service: Arc<Service>,
) {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let accept = request.headers().get(ACCEPT).cloned();
    let host = request.headers().get(HOST).cloned();
    let replied = tokio::select! {
        replied = service.local.call(request, dialect, || responder.head()) => replied,
        () = responder.cancelled() => return,
    };
    let (responded, failure) = match replied {
        Ok(Replied::Response(response)) => {
            let watched = service.host_checks.watch(host, response, &service.observer);
            (responder.respond(watched).await, None)
        }
        Ok(Replied::Upgrade(switched)) => {
            // In a box, since a call that is none would keep its room.
            let splicing = Box::pin(upgrade::splice(switched, responder));
            // It may go on for ever, so nobody waits for its end.
            let Some(responded) = service.stop.run_until_cancelled(splicing).await else {
                return;
            };
            (responded, None)
        }
        Err(error) => {
            service.host_checks.failed(host, &error, &service.observer);
            let refusal = error.refusal();
            let response = refusal.response(accept.as_ref());
            let responded = responder.respond(response.map(Full::new)).await;
            let length = BodyLength::default();
            let failure = (error.to_string(), refusal.code);
            (
                Responded {
                    length,
                    ..responded
                },
                Some(failure),
            )
        }
    };
    let Responded {
        status,
        length,
        broken,
    } = responded;
    let (error, code) = match (failure, broken) {
        (Some((error, code)), _) => (Some(error), Some(code)),
        (None, Some(broken)) => {
            let error = (!broken.is_visitors()).then(|| broken.after(length));
            (error, Some(broken.code()))
        }
        (None, None) => (None, None),
    };
    let bytes = length.bytes;
    tracing::debug!(
        status = status.as_u16(),
        bytes,
        code,
        error,
        "answered a call"
    );
    (service.observer)(Event::Answered {
        method,
        path,
        status,
        elapsed: started.elapsed(),
        error,
        code,
        length,
        broken,
    });
}
