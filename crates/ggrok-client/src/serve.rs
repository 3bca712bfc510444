//! The calls of one connection, answered until it ends.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Instant;

use ggrok_protocol::{Dialect, Ending, IncomingCall, Limits, SessionError, Transport, accept};
use http::header::ACCEPT;
use http_body_util::Full;
use tokio::task::JoinSet;

use crate::Event;
use crate::local::Local;

/// Who watches a client.
pub(crate) type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// Answers the calls that come over a transport until it ends, and returns how; or until `shutdown`
/// is done, and returns nothing. Then the relay is told, and the calls that run are given up.
pub(crate) async fn serve(
    transport: impl Transport,
    limits: Limits,
    local: &Arc<Local>,
    observer: &Observer,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Option<Result<Ending, SessionError>> {
    let (mut incoming, session) = accept(Dialect::Ggrok, limits);
    let mut session = pin!(session.run(transport));
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            ended = &mut session => return Some(ended),
            Some(call) = incoming.next() => {
                answers.spawn(answer(call, Arc::clone(local), Arc::clone(observer)));
            }
            Some(_) = answers.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop(incoming);
    if let Err(error) = session.await {
        tracing::debug!(%error, "the relay did not take its farewell");
    }
    None
}

/// Answers one call: with the local server's response, or with the reason why there is none.
async fn answer(call: IncomingCall, local: Arc<Local>, observer: Observer) {
    let started = Instant::now();
    let IncomingCall { request, responder } = call;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let accept = request.headers().get(ACCEPT).cloned();
    let (status, error) = match local.call(request).await {
        Ok(response) => (responder.respond(response).await, None),
        Err(error) => {
            let refusal = error.refusal().response(accept.as_ref());
            let status = responder.respond(refusal.map(Full::new)).await;
            (status, Some(error.to_string()))
        }
    };
    observer(Event::Answered {
        method,
        path,
        status,
        elapsed: started.elapsed(),
        error,
    });
}
