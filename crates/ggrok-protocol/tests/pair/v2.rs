//! Many calls at once, streamed.

use std::pin::pin;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::poll_immediate;
use futures_util::{SinkExt, StreamExt};
use ggrok_protocol::{
    Arrival, BodyError, CallError, Dialect, Ending, Incoming, IncomingCall, Limits, Message,
    ResetCode, SessionError, Tunnel, TunnelBody, accept, open,
};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::memory::{End, ends};

type Ended = JoinHandle<Result<Ending, SessionError>>;

/// Both ends over one WebSocket in memory.
struct Pair {
    tunnel: Tunnel,
    incoming: Incoming,
    relay: Ended,
    client: Ended,
}

fn pair(limits: Limits) -> Pair {
    let (near, far) = ends();
    let (tunnel, relay) = open(Dialect::V2, limits);
    let (incoming, client) = accept(Dialect::V2, limits);
    Pair {
        tunnel,
        incoming,
        relay: tokio::spawn(relay.run(near)),
        client: tokio::spawn(client.run(far)),
    }
}

impl Pair {
    async fn arrived(&mut self) -> IncomingCall {
        match self.incoming.next().await.unwrap() {
            Arrival::Call(call) => call,
            Arrival::GoAway => panic!("a GoAway is no call"),
        }
    }

    fn call<B>(&self, request: Request<B>) -> JoinHandle<Result<Response<TunnelBody>, CallError>>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::fmt::Display + Send,
    {
        let tunnel = self.tunnel.clone();
        tokio::spawn(async move { tunnel.call(request).await })
    }
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).unwrap()
}

/// A body that a test feeds frame by frame.
type Fed = StreamBody<channel::Frames>;

mod channel {
    //! A channel as a stream of frames.

    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use futures_util::Stream;
    use http_body::Frame;
    use tokio::sync::mpsc;

    pub struct Frames(pub mpsc::Receiver<Frame<Bytes>>);

    impl Stream for Frames {
        type Item = Result<Frame<Bytes>, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.0.poll_recv(cx).map(|frame| frame.map(Ok))
        }
    }
}

fn fed() -> (mpsc::Sender<Frame<Bytes>>, Fed) {
    let (feed, frames) = mpsc::channel(1);
    (feed, StreamBody::new(channel::Frames(frames)))
}

async fn text(response: Response<TunnelBody>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Bytes that tell their place.
fn pattern(length: usize) -> Bytes {
    (0..length)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn answers_in_any_order() {
    let mut pair = pair(Limits::default());
    let calls: Vec<_> = (0..100)
        .map(|number| pair.call(get(&format!("/{number}"))))
        .collect();
    let mut arrived = Vec::new();
    for _ in 0..100 {
        arrived.push(pair.arrived().await);
    }
    for IncomingCall { request, responder } in arrived.into_iter().rev() {
        let path = request.uri().path().to_owned();
        responder.respond(Response::new(Full::from(path))).await;
    }
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(
            text(call.await.unwrap().unwrap()).await,
            format!("/{number}")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn carries_large_bodies_both_ways_at_once() {
    let mut pair = pair(Limits::default());
    let sent = pattern(5_000_000);
    let call = pair.call(Request::post("/").body(Full::from(sent.clone())).unwrap());
    let IncomingCall { request, responder } = pair.arrived().await;
    // The very bytes that come in go out again.
    let echo = tokio::spawn(responder.respond(Response::new(request.into_body())));
    let response = call.await.unwrap().unwrap();
    let received = response.into_body().collect().await.unwrap().to_bytes();
    assert!(received == sent);
    assert_eq!(echo.await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn shows_each_write_at_once() {
    let mut pair = pair(Limits::default());
    let (to_client, body) = fed();
    let call = pair.call(Request::post("/").body(body).unwrap());
    let IncomingCall { request, responder } = pair.arrived().await;
    let (to_relay, body) = fed();
    let answering = tokio::spawn(responder.respond(Response::new(body)));
    let mut response = call.await.unwrap().unwrap().into_body();
    let mut request = request.into_body();
    for word in ["one", "two", "three"] {
        to_client.send(Frame::data(word.into())).await.unwrap();
        assert_eq!(
            request.frame().await.unwrap().unwrap().into_data().unwrap(),
            word
        );
        to_relay.send(Frame::data(word.into())).await.unwrap();
        assert_eq!(
            response
                .frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap(),
            word
        );
    }
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "\u{e9}".parse().unwrap())]);
    to_client
        .send(Frame::trailers(trailers.clone()))
        .await
        .unwrap();
    assert_eq!(
        request
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap(),
        trailers
    );
    assert!(request.frame().await.is_none());
    to_relay
        .send(Frame::trailers(trailers.clone()))
        .await
        .unwrap();
    assert_eq!(
        response
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap(),
        trailers
    );
    assert!(response.frame().await.is_none());
    assert_eq!(answering.await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn stalled_readers_hold_nobody_up() {
    let mut pair = pair(Limits::default());
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let call = pair.call(get("/stalled"));
        let IncomingCall { responder, .. } = pair.arrived().await;
        tokio::spawn(responder.respond(Response::new(Full::from(pattern(10_000_000)))));
        stalled.push(call.await.unwrap().unwrap());
    }
    for _ in 0..100 {
        let call = pair.call(get("/small"));
        let IncomingCall { responder, .. } = pair.arrived().await;
        responder.respond(Response::new(Full::from("hi"))).await;
        assert_eq!(text(call.await.unwrap().unwrap()).await, "hi");
    }
    for response in stalled {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body == pattern(10_000_000));
    }
}

#[tokio::test(start_paused = true)]
async fn tells_who_holds_a_request_body_up() {
    let mut pair = pair(Limits::default());
    let since = Instant::now();
    // Nobody reads it.
    let call = pair.call(
        Request::post("/")
            .body(Full::from(pattern(10_000_000)))
            .unwrap(),
    );
    let unread = pair.arrived().await;
    assert!(matches!(call.await.unwrap(), Err(CallError::TimedOut)));
    drop(unread);
    // Nobody says it.
    let (_silent, body) = fed();
    let call = pair.call(Request::post("/").body(body).unwrap());
    let unanswered = pair.arrived().await;
    assert!(matches!(call.await.unwrap(), Err(CallError::BodyStalled)));
    drop(unanswered);
    assert_eq!(since.elapsed(), 2 * Limits::default().stream_idle);
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_quiet_while_the_other_is_not() {
    let limits = Limits {
        stream_idle: Duration::from_secs(10),
        ..Limits::default()
    };
    let mut pair = pair(limits);
    for quiet_visitor in [true, false] {
        let (ask, asked) = fed();
        let call = pair.call(Request::post("/").body(asked).unwrap());
        let IncomingCall { request, responder } = pair.arrived().await;
        let (say, said) = fed();
        tokio::spawn(responder.respond(Response::new(said)));
        say.send(Frame::data("first".into())).await.unwrap();
        let mut response = call.await.unwrap().unwrap().into_body();
        let mut request = request.into_body();
        response.frame().await.unwrap().unwrap();
        let (speaks, hears) = if quiet_visitor {
            (&say, &mut response)
        } else {
            (&ask, &mut request)
        };
        for _ in 0..10 {
            sleep(Duration::from_secs(8)).await;
            speaks.send(Frame::data("more".into())).await.unwrap();
            hears.frame().await.unwrap().unwrap();
        }
        // Now both are.
        let since = Instant::now();
        response.frame().await.unwrap().unwrap_err();
        request.frame().await.unwrap().unwrap_err();
        assert_eq!(since.elapsed().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn never_sends_more_than_the_reader_lets_in() {
    let (near, mut far) = ends();
    let (tunnel, session) = open(Dialect::V2, Limits::default());
    tokio::spawn(session.run(near));
    let _call = tokio::spawn(async move {
        let body = Full::from(pattern(1_000_000));
        tunnel
            .call(Request::post("/").body(body).unwrap())
            .await
            .map(drop)
    });
    let mut received = 0;
    while let Ok(message) = timeout(Duration::from_secs(1), far.next()).await {
        if let Message::Binary(frame) = message.unwrap().unwrap() {
            received += frame.len();
        }
    }
    // 64 KiB of credit, and the head and headers.
    assert!(
        (64 << 10..(64 << 10) + 1000).contains(&received),
        "{received}"
    );
}

#[tokio::test(start_paused = true)]
async fn resets_the_call_when_the_visitor_leaves() {
    let mut pair = pair(Limits::default());
    // Before the response.
    let call = pair.call(get("/"));
    let IncomingCall { responder, .. } = pair.arrived().await;
    call.abort();
    responder.cancelled().await;

    // In the response.
    let call = pair.call(get("/"));
    let IncomingCall { responder, .. } = pair.arrived().await;
    let (feed, body) = fed();
    let answering = tokio::spawn(responder.respond(Response::new(body)));
    let response = call.await.unwrap().unwrap();
    drop(response);
    answering.await.unwrap();
    assert!(feed.is_closed(), "the local response is still read");

    // In the request.
    let (feed, body) = fed();
    let call = pair.call(Request::post("/").body(body).unwrap());
    let IncomingCall { request, responder } = pair.arrived().await;
    call.abort();
    responder.cancelled().await;
    let broken = request.into_body().collect().await.unwrap_err();
    assert_eq!(broken, BodyError::Reset(ResetCode::Cancelled));
    eventually_closed(&feed).await;
}

async fn eventually_closed(feed: &mpsc::Sender<Frame<Bytes>>) {
    timeout(Duration::from_secs(5), feed.closed())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn shows_that_a_response_broke_off() {
    let mut pair = pair(Limits::default());
    let call = pair.call(get("/"));
    let IncomingCall { responder, .. } = pair.arrived().await;
    let frames = futures_util::stream::iter([
        Ok(Frame::data(Bytes::from_static(b"half"))),
        Err(std::io::Error::other("the local server died")),
    ]);
    let body = StreamBody::new(frames);
    let answering = tokio::spawn(responder.respond(Response::new(body)));
    let answer = call.await.unwrap();
    // Either is visible: no response at all, or one that breaks off.
    match answer {
        Ok(response) => {
            let broken = response.into_body().collect().await.unwrap_err();
            assert_eq!(broken, BodyError::Reset(ResetCode::Broken));
        }
        Err(error) => assert!(
            matches!(error, CallError::Reset(ResetCode::Broken)),
            "{error}"
        ),
    }
    answering.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tells_the_visitor_that_a_call_was_dropped() {
    let mut pair = pair(Limits::default());
    let call = pair.call(get("/"));
    drop(pair.arrived().await);
    let error = call.await.unwrap().unwrap_err();
    assert!(
        matches!(error, CallError::Reset(ResetCode::Unanswered)),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn takes_an_early_answer_while_the_upload_runs() {
    let mut pair = pair(Limits::default());
    let (feed, body) = fed();
    let call = pair.call(Request::post("/").body(body).unwrap());
    let IncomingCall { request, responder } = pair.arrived().await;
    drop(request);
    let early = Response::builder()
        .status(413)
        .body(Full::from("too large"))
        .unwrap();
    responder.respond(early).await;
    let response = call.await.unwrap().unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(text(response).await, "too large");
    eventually_closed(&feed).await;
}

#[tokio::test(start_paused = true)]
async fn numbers_calls_as_they_go_out() {
    let mut pair = pair(Limits::default());
    // The first waits a turn for its body; the second has none.
    let (_feed, body) = fed();
    let first = pair.call(Request::post("/first").body(body).unwrap());
    let second = pair.call(get("/second"));
    for _ in 0..2 {
        let IncomingCall { request, responder } = pair.arrived().await;
        drop(request);
        responder.respond(Response::new(Full::from("hi"))).await;
    }
    for call in [first, second] {
        assert_eq!(text(call.await.unwrap().unwrap()).await, "hi");
    }
}

#[tokio::test(start_paused = true)]
async fn gives_a_call_up_whose_head_was_overtaken_by_its_reset() {
    let mut pair = pair(Limits::default());
    {
        let mut call = pin!(pair.tunnel.call(get("/unwanted")));
        assert!(poll_immediate(&mut call).await.is_none());
    }
    let call = pair.call(get("/wanted"));
    let IncomingCall { request, responder } = pair.arrived().await;
    assert_eq!(request.uri(), "/wanted");
    responder.respond(Response::new(Full::from("hi"))).await;
    assert_eq!(text(call.await.unwrap().unwrap()).await, "hi");
}

#[tokio::test(start_paused = true)]
async fn waits_with_the_body_until_somebody_wants_it() {
    let mut pair = pair(Limits::default());
    let (feed, body) = fed();
    let request = Request::post("/").header("expect", "100-continue");
    let _call = pair.call(request.body(body).unwrap());
    let IncomingCall { request, responder } = pair.arrived().await;
    assert!(!request.headers().contains_key("expect"));
    feed.send(Frame::data("first".into())).await.unwrap();
    let second = feed.send(Frame::data("second".into()));
    let early = timeout(Duration::from_secs(1), second).await;
    assert!(
        early.is_err(),
        "the body was asked for before anybody read it"
    );
    let mut body = request.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "first"
    );
    drop(responder);
}

#[tokio::test(start_paused = true)]
async fn gives_up_an_answer_that_does_not_come_and_no_other() {
    let limits = Limits::default();
    let mut pair = pair(limits);
    let slow = pair.call(get("/slow"));
    let IncomingCall { responder, .. } = pair.arrived().await;
    assert!(matches!(slow.await.unwrap(), Err(CallError::TimedOut)));
    responder.cancelled().await;
    let next = pair.call(get("/"));
    let IncomingCall { responder, .. } = pair.arrived().await;
    responder.respond(Response::new(Full::from("hi"))).await;
    assert_eq!(text(next.await.unwrap().unwrap()).await, "hi");
}

#[tokio::test(start_paused = true)]
async fn gives_up_an_upgrade_that_is_not_answered() {
    let mut pair = pair(Limits::default());
    let (_feed, body) = fed();
    let request = Request::get("/").header("connection", "upgrade");
    let call = pair.call(request.header("upgrade", "x").body(body).unwrap());
    let IncomingCall { responder, .. } = pair.arrived().await;
    let answer = timeout(Duration::from_secs(301), call).await.unwrap();
    assert!(matches!(answer.unwrap(), Err(CallError::TimedOut)));
    responder.cancelled().await;
}

/// Long streams, as of events, which have read much in their time.
#[tokio::test(start_paused = true)]
async fn open_streams_leave_room_for_calls() {
    let mut pair = pair(Limits::default());
    let mut streams = vec![];
    for _ in 0..100 {
        let call = pair.call(get("/stream"));
        let arrived = timeout(Duration::from_secs(1), pair.arrived()).await;
        let IncomingCall { responder, .. } = arrived.expect("there is room for a stream");
        let (feed, body) = fed();
        tokio::spawn(responder.respond(Response::new(body)));
        let mut body = call.await.unwrap().unwrap().into_body();
        for _ in 0..20 {
            feed.send(Frame::data(pattern(60_000))).await.unwrap();
            let mut read = 0;
            while read < 60_000 {
                let frame = body.frame().await.unwrap().unwrap();
                read += frame.into_data().unwrap().len();
            }
        }
        streams.push((feed, body));
    }
    for _ in 0..300 {
        let call = pair.call(get("/"));
        let arrived = timeout(Duration::from_secs(1), pair.arrived()).await;
        let IncomingCall { responder, .. } = arrived.expect("there is room for a call");
        responder.respond(Response::new(Full::from("hi"))).await;
        assert_eq!(text(call.await.unwrap().unwrap()).await, "hi");
    }
}

#[tokio::test(start_paused = true)]
async fn counts_the_time_from_the_end_of_the_upload() {
    let mut pair = pair(Limits::default());
    let (feed, body) = fed();
    let call = pair.call(Request::post("/").body(body).unwrap());
    let IncomingCall { request, responder } = pair.arrived().await;
    let reading = tokio::spawn(request.into_body().collect());
    for _ in 0..10 {
        sleep(Duration::from_secs(200)).await;
        feed.send(Frame::data("more".into())).await.unwrap();
    }
    drop(feed);
    assert_eq!(reading.await.unwrap().unwrap().to_bytes().len(), 40);
    responder.respond(Response::new(Full::from("done"))).await;
    assert_eq!(text(call.await.unwrap().unwrap()).await, "done");
}

#[tokio::test(start_paused = true)]
async fn refuses_calls_over_its_limit() {
    let limits = Limits {
        calls: 2,
        ..Limits::default()
    };
    let mut pair = pair(limits);
    let live = [pair.call(get("/1")), pair.call(get("/2"))];
    let _arrived = [pair.arrived().await, pair.arrived().await];
    let refused = pair.tunnel.call(get("/3")).await;
    assert!(matches!(refused, Err(CallError::TooManyCalls)));
    live[0].abort();
    tokio::task::yield_now().await;
    let _next = pair.call(get("/4"));
    assert_eq!(pair.arrived().await.request.uri(), "/4");
}

#[tokio::test(start_paused = true)]
async fn ends_every_call_with_the_tunnel() {
    let mut pair = pair(Limits::default());
    let waiting = pair.call(get("/waiting"));
    let _waits = pair.arrived().await;
    let reading = pair.call(get("/reading"));
    let IncomingCall { responder, .. } = pair.arrived().await;
    let (_feed, body) = fed();
    let answering = tokio::spawn(responder.respond(Response::new(body)));
    let response = reading.await.unwrap().unwrap();
    pair.client.abort();
    assert!(matches!(waiting.await.unwrap(), Err(CallError::Closed)));
    assert_eq!(
        response.into_body().collect().await.unwrap_err(),
        BodyError::Closed
    );
    assert!(pair.relay.await.unwrap().is_ok());
    answering.await.unwrap();
    assert!(matches!(
        pair.tunnel.call(get("/")).await,
        Err(CallError::Closed)
    ));
}

#[tokio::test(start_paused = true)]
async fn keeps_a_response_that_came_whole_before_the_tunnel_ended() {
    let mut pair = pair(Limits::default());
    let call = pair.call(get("/"));
    let IncomingCall { responder, .. } = pair.arrived().await;
    responder.respond(Response::new(Full::from("whole"))).await;
    let response = call.await.unwrap().unwrap();
    pair.client.abort();
    assert!(pair.relay.await.unwrap().is_ok());
    assert_eq!(text(response).await, "whole");
}

#[tokio::test(start_paused = true)]
async fn tells_the_client_to_look_elsewhere() {
    let mut pair = pair(Limits::default());
    let call = pair.call(get("/"));
    let IncomingCall { responder, .. } = pair.arrived().await;
    pair.tunnel.go_away();
    assert!(matches!(pair.incoming.next().await, Some(Arrival::GoAway)));
    responder.respond(Response::new(Full::from("still"))).await;
    assert_eq!(text(call.await.unwrap().unwrap()).await, "still");
    pair.tunnel.close(Ending::GoingAway);
    assert_eq!(pair.client.await.unwrap().unwrap(), Ending::GoingAway);
}

#[tokio::test(start_paused = true)]
async fn finishes_the_calls_of_a_client_that_goes_away_and_makes_no_more() {
    let mut pair = pair(Limits::default());
    let calls: Vec<_> = (0..2).map(|_| pair.call(get("/"))).collect();
    let mut responders = Vec::new();
    for _ in 0..2 {
        responders.push(pair.arrived().await.responder);
    }
    assert!(
        poll_immediate(pin!(pair.tunnel.going_away()))
            .await
            .is_none()
    );
    pair.incoming.go_away();
    pair.tunnel.going_away().await;
    let refused = pair.tunnel.call(get("/")).await;
    assert!(matches!(refused, Err(CallError::GoingAway)));
    for (call, responder) in calls.into_iter().zip(responders) {
        assert!(poll_immediate(pin!(pair.tunnel.finished())).await.is_none());
        responder.respond(Response::new(Full::from("still"))).await;
        assert_eq!(text(call.await.unwrap().unwrap()).await, "still");
    }
    pair.tunnel.finished().await;
    pair.tunnel.close(Ending::Done);
    assert_eq!(pair.client.await.unwrap().unwrap(), Ending::Done);
}

#[tokio::test(start_paused = true)]
async fn takes_silent_peers_for_dead_at_both_ends() {
    for side in ["relay", "client"] {
        let (near, _far) = ends();
        let (_tunnel, relay) = open(Dialect::V2, Limits::default());
        let (_incoming, client) = accept(Dialect::V2, Limits::default());
        let session = if side == "relay" { relay } else { client };
        let error = session.run(near).await.unwrap_err();
        assert!(matches!(error, SessionError::Dead), "{side}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_notices_a_silent_relay_within_10_s_and_by_a_probe_at_once() {
    for (probed, within) in [(false, 10_000), (true, 1_500)] {
        let (near, _far) = ends();
        let (incoming, session) = accept(Dialect::V2, Limits::default());
        let start = Instant::now();
        if probed {
            incoming.probe();
        }
        let error = session.run(near).await.unwrap_err();
        assert!(matches!(error, SessionError::Dead), "{error}");
        assert_eq!(start.elapsed(), Duration::from_millis(within));
    }
}

#[tokio::test(start_paused = true)]
async fn keeps_a_relay_that_answers_probes() {
    let (near, mut far) = ends();
    let (incoming, session) = accept(Dialect::V2, Limits::default());
    let session = tokio::spawn(session.run(near));
    let relay = tokio::spawn(async move { while far.next().await.is_some() {} });
    for _ in 0..10 {
        incoming.probe();
        sleep(Duration::from_secs(20)).await;
    }
    assert!(!session.is_finished() && !relay.is_finished());
}

#[tokio::test(start_paused = true)]
async fn survives_two_full_directions() {
    let mut pair = pair(Limits::default());
    let mut uploads = Vec::new();
    let mut echoes = Vec::new();
    for _ in 0..32 {
        let body = Full::from(pattern(400_000));
        uploads.push(pair.call(Request::post("/").body(body).unwrap()));
        let IncomingCall { request, responder } = pair.arrived().await;
        echoes.push(tokio::spawn(
            responder.respond(Response::new(request.into_body())),
        ));
    }
    for upload in uploads {
        let response = upload.await.unwrap().unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body == pattern(400_000));
    }
}

/// A frame as `docs/protocol.md` states it.
fn frame(kind: u8, flags: u8, call: u32, payload: &[u8]) -> Message {
    let mut out = BytesMut::new();
    out.put_slice(&[kind, flags]);
    out.put_u32(call);
    out.put_slice(payload);
    Message::Binary(out.freeze())
}

fn head(json: &str, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap().to_be_bytes();
    [&length[..], json.as_bytes(), body].concat()
}

async fn close_frame(far: &mut End) -> Ending {
    loop {
        if let Message::Close(ending) = far.next().await.unwrap().unwrap() {
            return ending;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ends_the_tunnel_with_a_client_that_breaks_the_rules() {
    let ok = head(r#"{"status":200,"fields":[]}"#, b"");
    let over = vec![0; 64 << 10];
    let much = frame(3, 0, 1, br#"[["a","b"]]"#);
    for (name, messages) in [
        ("text", vec![Message::Text("hello".into())]),
        (
            "no frame",
            vec![Message::Binary(Bytes::from_static(b"\x01"))],
        ),
        ("a head's length", vec![frame(1, 0, 1, b"\xff\xff\xff\xff")]),
        ("two heads", vec![frame(1, 0, 1, &ok), frame(1, 0, 1, &ok)]),
        (
            "over its window",
            vec![
                frame(1, 0, 1, &ok),
                frame(2, 0, 1, &over),
                frame(2, 0, 1, b"x"),
            ],
        ),
        (
            "behind the end",
            vec![
                frame(1, 0, 1, &ok),
                frame(2, 1, 1, b""),
                frame(2, 0, 1, b"x"),
            ],
        ),
        ("credit beyond all", vec![frame(4, 0, 1, &[0xff; 4])]),
        ("short credit", vec![frame(4, 0, 1, b"12")]),
        (
            "trailers",
            vec![frame(1, 0, 1, &ok), much, frame(3, 0, 1, b"[]")],
        ),
    ] {
        let (near, mut far) = ends();
        let (tunnel, session) = open(Dialect::V2, Limits::default());
        let session = tokio::spawn(session.run(near));
        // It never reads the body of its response.
        let call = tokio::spawn(async move {
            let response = tunnel.call(get("/")).await;
            std::future::pending::<()>().await;
            response.map(drop)
        });
        assert!(matches!(far.next().await, Some(Ok(Message::Binary(_)))));
        for message in messages {
            far.send(message).await.unwrap();
        }
        assert_eq!(close_frame(&mut far).await, Ending::Violation, "{name}");
        assert!(session.await.unwrap().is_err(), "{name}");
        call.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn skips_what_it_does_not_know_and_what_is_late() {
    let (near, mut far) = ends();
    let (tunnel, session) = open(Dialect::V2, Limits::default());
    let session = tokio::spawn(session.run(near));
    let handle = tunnel.clone();
    let call = tokio::spawn(async move { handle.call(get("/")).await });
    assert!(matches!(far.next().await, Some(Ok(Message::Binary(_)))));
    for message in [
        frame(99, 7, 1, b"from a later version"),
        frame(2, 0, 4711, b"of no live call"),
        frame(5, 0, 4711, b"\x00\x01"),
        frame(6, 0, 0, b""),
        frame(
            1,
            1,
            1,
            &head(
                r#"{"status":299,"later":{"x":[1]},"fields":[["x-a","1"]]}"#,
                b"body",
            ),
        ),
    ] {
        far.send(message).await.unwrap();
    }
    let response = call.await.unwrap().unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers().len()),
        (299, 1)
    );
    assert_eq!(text(response).await, "body");
    assert!(!session.is_finished());
    drop(tunnel);
}

#[tokio::test(start_paused = true)]
async fn a_bad_head_costs_its_call_alone() {
    let (near, mut far) = ends();
    let (tunnel, session) = open(Dialect::V2, Limits::default());
    let session = tokio::spawn(session.run(near));
    for (number, bad) in (1..).zip([
        "",
        "[]",
        r#"{"status":99,"fields":[]}"#,
        r#"{"status":101,"fields":[]}"#,
        r#"{"status":200,"upgrade":"x","fields":[]}"#,
        r#"{"status":200,"fields":[["a b","c"]]}"#,
        r#"{"status":200,"fields":[["a","b\r\nc: d"]]}"#,
        r#"{"status":200,"fields":[["a","\u0100"]]}"#,
    ]) {
        let tunnel = tunnel.clone();
        let call = tokio::spawn(async move { tunnel.call(get("/")).await.map(drop) });
        loop {
            if matches!(far.next().await, Some(Ok(Message::Binary(bytes))) if bytes[0] == 1) {
                break;
            }
        }
        far.send(frame(1, 1, number, &head(bad, b"")))
            .await
            .unwrap();
        let answer = call.await.unwrap();
        assert!(
            matches!(answer, Err(CallError::Decode(_))),
            "{bad}: {answer:?}"
        );
    }
    assert!(!session.is_finished());
}

#[tokio::test(start_paused = true)]
async fn bad_trailers_cost_their_call_alone() {
    let ok = head(r#"{"status":200,"fields":[]}"#, b"");
    let many = format!("[{}]", vec![r#"["a","b"]"#; 1001].join(","));
    let long = format!(r#"[["a","{}"]]"#, "b".repeat(64 << 10));
    for bad in ["", "{}", "[[]]", r#"[["a b","c"]]"#, &many, &long] {
        let (near, mut far) = ends();
        let (tunnel, session) = open(Dialect::V2, Limits::default());
        let session = tokio::spawn(session.run(near));
        let call = tokio::spawn(async move {
            let response = tunnel.call(get("/")).await.unwrap();
            (response.into_body().collect().await, tunnel)
        });
        assert!(matches!(far.next().await, Some(Ok(Message::Binary(_)))));
        far.send(frame(1, 0, 1, &ok)).await.unwrap();
        far.send(frame(3, 0, 1, bad.as_bytes())).await.unwrap();
        let (body, _tunnel) = call.await.unwrap();
        assert!(
            matches!(body, Err(BodyError::Reset(ResetCode::Malformed))),
            "{bad}: {body:?}"
        );
        let reset = far.next().await.unwrap().unwrap();
        assert_eq!(reset, frame(5, 0, 1, &[0, 4]));
        assert!(!session.is_finished());
    }
}

/// A response's head of so many bytes.
fn head_of(length: usize) -> Vec<u8> {
    let (start, end) = (r#"{"status":200,"fields":[["a",""#, r#""]]}"#);
    let value = "v".repeat(length - start.len() - end.len());
    head(&format!("{start}{value}{end}"), b"")
}

#[tokio::test(start_paused = true)]
async fn a_response_head_over_the_limit_costs_its_call_alone() {
    let (near, mut far) = ends();
    let (tunnel, session) = open(Dialect::V2, Limits::default());
    let session = tokio::spawn(session.run(near));
    for (number, length) in [(1, 256 << 10), (2, (256 << 10) + 1), (3, 1_000_000)] {
        let tunnel = tunnel.clone();
        let call = tokio::spawn(async move { tunnel.call(get("/")).await.map(drop) });
        while !matches!(far.next().await, Some(Ok(Message::Binary(head))) if head[0] == 1) {}
        far.send(frame(1, 1, number, &head_of(length)))
            .await
            .unwrap();
        let answer = call.await.unwrap();
        if number == 1 {
            assert!(answer.is_ok(), "{answer:?}");
        } else {
            assert!(
                matches!(answer, Err(CallError::ResponseHeadTooLarge)),
                "{answer:?}"
            );
        }
    }
    assert!(!session.is_finished());
}

/// The relay's end of a tunnel whose budget is 1 MiB, with a test in the client's place.
fn small_budget() -> (Tunnel, Ended, End) {
    let limits = Limits {
        held: 1 << 20,
        ..Limits::default()
    };
    let (near, far) = ends();
    let (tunnel, session) = open(Dialect::V2, limits);
    (tunnel, tokio::spawn(session.run(near)), far)
}

/// Calls, and answers with these frames.
async fn answered(
    tunnel: &Tunnel,
    far: &mut End,
    frames: impl IntoIterator<Item = Message>,
) -> Result<Response<TunnelBody>, CallError> {
    let tunnel = tunnel.clone();
    let call = tokio::spawn(async move { tunnel.call(get("/")).await });
    while !matches!(far.next().await, Some(Ok(Message::Binary(head))) if head[0] == 1) {}
    for frame in frames {
        far.send(frame).await.unwrap();
    }
    call.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn heads_that_nobody_reads_count_in_the_budget_of_their_tunnel() {
    let (tunnel, session, mut far) = small_budget();
    let mut kept = Vec::new();
    for number in 1..=16 {
        let frames = [frame(1, 0, number, &head_of(200 << 10))];
        match answered(&tunnel, &mut far, frames).await {
            Ok(response) => kept.push(response),
            Err(CallError::TooManyBytes) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(kept.len(), 3, "each takes a window and its head");
    drop(kept);
    let frames = [frame(1, 0, 17, &head_of(200 << 10))];
    assert!(answered(&tunnel, &mut far, frames).await.is_ok());
    assert!(!session.is_finished());
}

#[tokio::test(start_paused = true)]
async fn trailers_that_nobody_reads_count_in_the_budget_of_their_tunnel() {
    let (tunnel, session, mut far) = small_budget();
    let small = head(r#"{"status":200,"fields":[]}"#, b"");
    let trailers = format!(r#"[["a","{}"]]"#, "v".repeat(60 << 10));
    let mut kept = Vec::new();
    for number in 1..=8 {
        let frames = [
            frame(1, 0, number, &small),
            frame(3, 0, number, trailers.as_bytes()),
        ];
        kept.push(answered(&tunnel, &mut far, frames).await.unwrap());
    }
    sleep(Duration::from_millis(1)).await;
    let refused = tunnel.call(get("/")).await.map(drop);
    assert!(
        matches!(refused, Err(CallError::TooManyBytes)),
        "{refused:?}"
    );
    drop(kept);
    assert!(
        answered(&tunnel, &mut far, [frame(1, 0, 9, &small)])
            .await
            .is_ok()
    );
    assert!(!session.is_finished());
}

#[tokio::test(start_paused = true)]
async fn the_client_refuses_heads_over_the_limit_and_over_its_budget() {
    let asked = |length: usize| {
        let (start, end) = (
            r#"{"method":"GET","target":"/","fields":[["a",""#,
            r#""]]}"#,
        );
        let value = "v".repeat(length - start.len() - end.len());
        head(&format!("{start}{value}{end}"), b"")
    };
    let limits = Limits {
        held: 1 << 20,
        ..Limits::default()
    };
    let (near, mut far) = ends();
    let (mut incoming, session) = accept(Dialect::V2, limits);
    let session = tokio::spawn(session.run(near));
    far.send(frame(1, 1, 1, &asked((128 << 10) + 1)))
        .await
        .unwrap();
    assert_eq!(far.next().await.unwrap().unwrap(), frame(5, 0, 1, &[0, 3]));
    // Each counts twice, beside its window: 320 KiB of the 1,024.
    let mut live = Vec::new();
    for number in 2..=4 {
        far.send(frame(1, 1, number, &asked(128 << 10)))
            .await
            .unwrap();
        live.push(incoming.next().await.unwrap());
    }
    far.send(frame(1, 1, 5, &asked(128 << 10))).await.unwrap();
    assert_eq!(far.next().await.unwrap().unwrap(), frame(5, 0, 5, &[0, 3]));
    live.clear();
    far.send(frame(1, 1, 6, &asked(128 << 10))).await.unwrap();
    assert!(matches!(incoming.next().await, Some(Arrival::Call(_))));
    assert!(!session.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_request_head_over_the_limit_is_not_sent() {
    let mut pair = pair(Limits::default());
    let long = "\"".repeat(70_000);
    let request = Request::get("/").header("x-long", long);
    let refused = pair
        .tunnel
        .call(request.body(Empty::<Bytes>::new()).unwrap());
    assert!(matches!(refused.await, Err(CallError::RequestHeadTooLarge)));
    let next = pair.call(get("/next"));
    assert_eq!(pair.arrived().await.request.uri(), "/next");
    drop(next);
}

/// As hyper's HTTP/2 takes them of a visitor.
#[tokio::test(start_paused = true)]
async fn too_many_trailers_are_not_sent() {
    let mut pair = pair(Limits::default());
    let (feed, body) = fed();
    let call = pair.call(Request::post("/").body(body).unwrap());
    let IncomingCall { request, responder } = pair.arrived().await;
    let mut trailers = HeaderMap::new();
    for number in 0..1001 {
        trailers.append("a", number.into());
    }
    feed.send(Frame::trailers(trailers)).await.unwrap();
    let answer = call.await.unwrap();
    assert!(
        matches!(answer, Err(CallError::BodyBroken(_))),
        "{answer:?}"
    );
    assert!(request.into_body().collect().await.is_err());
    responder.cancelled().await;
    let next = pair.call(get("/"));
    let IncomingCall { responder, .. } = pair.arrived().await;
    responder.respond(Response::new(Full::from("hi"))).await;
    assert_eq!(text(next.await.unwrap().unwrap()).await, "hi");
}

#[tokio::test(start_paused = true)]
async fn a_length_without_its_body_is_no_request() {
    let mut pair = pair(Limits::default());
    let request = Request::post("/").header("content-length", 5);
    let answer = pair.call(request.body(Empty::new()).unwrap());
    let next = pair.call(get("/next"));
    assert_eq!(pair.arrived().await.request.uri(), "/next");
    assert!(matches!(
        answer.await.unwrap(),
        Err(CallError::Reset(ResetCode::Malformed))
    ));
    drop(next);
}

#[tokio::test(start_paused = true)]
async fn the_client_leaves_a_relay_that_breaks_the_rules() {
    let ask = head(r#"{"method":"GET","target":"/","fields":[]}"#, b"");
    for (name, messages) in [
        (
            "an old id",
            vec![frame(1, 1, 2, &ask), frame(1, 1, 2, &ask)],
        ),
        (
            "a lower id",
            vec![frame(1, 1, 2, &ask), frame(1, 1, 1, &ask)],
        ),
        ("no id", vec![frame(1, 1, 0, &ask)]),
    ] {
        let (near, mut far) = ends();
        let (_incoming, session) = accept(Dialect::V2, Limits::default());
        let session = tokio::spawn(session.run(near));
        for message in messages {
            far.send(message).await.unwrap();
        }
        assert_eq!(close_frame(&mut far).await, Ending::Violation, "{name}");
        assert!(
            matches!(session.await.unwrap(), Err(SessionError::Violation)),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_refuses_calls_over_its_limit_and_targets_elsewhere() {
    let limits = Limits {
        calls: 1,
        ..Limits::default()
    };
    let (near, mut far) = ends();
    let (mut incoming, session) = accept(Dialect::V2, limits);
    let session = tokio::spawn(session.run(near));
    let ask = head(r#"{"method":"GET","target":"/","fields":[]}"#, b"");
    far.send(frame(1, 1, 1, &ask)).await.unwrap();
    let _live = incoming.next().await.unwrap();
    far.send(frame(1, 1, 2, &ask)).await.unwrap();
    let Some(Ok(Message::Binary(reset))) = far.next().await else {
        panic!("no reset");
    };
    assert_eq!(&reset[..], [5, 0, 0, 0, 0, 2, 0, 3]);
    drop(_live);
    let Some(Ok(Message::Binary(reset))) = far.next().await else {
        panic!("no reset");
    };
    assert_eq!(&reset[..], [5, 0, 0, 0, 0, 1, 0, 5]);
    for (number, (method, target)) in (3..).zip([
        ("GET", "http://evil.example/"),
        ("GET", "evil.example:80"),
        ("GET", ""),
        ("GET", "*"),
        ("POST", "*"),
        ("CONNECT", "*"),
        ("CONNECT", "/"),
        ("CONNECT", "evil.example:80"),
        ("TRACE", "/"),
    ]) {
        let asked = format!(r#"{{"method":"{method}","target":"{target}","fields":[]}}"#);
        far.send(frame(1, 1, number, &head(&asked, b"")))
            .await
            .unwrap();
        let arrived = timeout(Duration::from_millis(1), incoming.next()).await;
        assert!(arrived.is_err(), "{method} {target} is a call");
        let reset = far.next().await.unwrap().unwrap();
        assert_eq!(reset, frame(5, 0, number, &[0, 4]), "{method} {target}");
    }
    let options = head(r#"{"method":"OPTIONS","target":"*","fields":[]}"#, b"");
    far.send(frame(1, 1, 20, &options)).await.unwrap();
    assert!(matches!(incoming.next().await, Some(Arrival::Call(_))));
    assert!(!session.is_finished());
}

#[tokio::test(start_paused = true)]
async fn the_client_leaves_a_relay_that_makes_more_resets_than_it_reads() {
    let limits = Limits {
        calls: 4,
        ..Limits::default()
    };
    let ask = r#"{"method":"GET","target":"/","fields":[]}"#;
    let upload = r#"{"method":"POST","target":"/","fields":[["content-length","5"]]}"#;
    for bad in ["no head", ask, upload] {
        let (near, mut far) = ends();
        let (mut incoming, session) = accept(Dialect::V2, limits);
        let session = tokio::spawn(session.run(near));
        // Each call is dropped at once, without an answer.
        let dropping = tokio::spawn(async move { while incoming.next().await.is_some() {} });
        for number in 1..2000 {
            far.send(frame(1, 1, number, &head(bad, b""))).await.ok();
        }
        let ended = session.await.unwrap();
        assert!(matches!(ended, Err(SessionError::Violation)), "{bad}");
        dropping.await.unwrap();
    }
}
