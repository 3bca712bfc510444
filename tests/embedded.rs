//! A relay inside an axum app that has its own users, its own paths and its own tunnels.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use ggrok_protocol::{Dialect, IncomingCall};
use ggrok_server::{
    Access, Authenticate, Config, Denied, Event, Grant, Owner, Relay, Tunnel, TunnelBody,
};
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{Request, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{
    Answer, Mirror, PATIENCE, answered, dial, get as visit, handshake, in_v2, play, raw, refused,
};

mod lifetime;

/// The users of an app, who are known by a cookie.
struct Users;

impl Authenticate for Users {
    async fn authenticate(&self, request: &mut Parts) -> Result<Grant, Denied> {
        // An app asks its database meanwhile.
        tokio::task::yield_now().await;
        let cookie = request.headers.remove(COOKIE).ok_or(Denied::NoToken)?;
        let user = cookie.to_str().ok().and_then(|it| it.strip_prefix("user="));
        match user.ok_or(Denied::WrongToken)? {
            "" => Err(Denied::WrongToken),
            "mallory" => Err(Denied::Forbidden),
            "unknowable" => Err(Denied::Unavailable),
            "brief" => {
                let soon = SystemTime::now() + Duration::from_millis(300);
                Ok(Grant::new(Owner::new("brief")).until(soon))
            }
            user => Ok(Grant::new(Owner::new(user))),
        }
    }
}

/// Looks at guesses only when so many have come, and at the right one last.
struct Slow {
    come: Barrier,
    wrong_ones_are_told: Arc<Notify>,
}

impl Authenticate for Slow {
    async fn authenticate(&self, request: &mut Parts) -> Result<Grant, Denied> {
        self.come.wait().await;
        if request.headers[COOKIE] != "user=ana" {
            return Err(Denied::WrongToken);
        }
        self.wrong_ones_are_told.notified().await;
        Ok(Grant::new(Owner::new("ana")))
    }
}

/// An app with a relay under a path of its own.
struct App {
    relay: Relay,
    address: SocketAddr,
    events: mpsc::Receiver<Event>,
    serving: JoinHandle<()>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl App {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(Access::by(Users), 0);
        config.settling_time = Duration::ZERO;
        change(&mut config);
        let (sender, events) = mpsc::channel(1000);
        let observer = move |event| sender.try_send(event).unwrap();
        let relay = Relay::observed(config, observer);
        let app = Router::new()
            .route("/", get(async || "the app's own page"))
            .nest("/tunnels", relay.router())
            .into_make_service_with_connect_info::<SocketAddr>();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        Self {
            relay,
            address,
            events,
            serving,
        }
    }

    fn handshake(&self, user: &str, query: &str) -> Request<()> {
        let mut handshake = handshake(self.address, &format!("/tunnels/mirror?{query}"), "");
        let headers = handshake.headers_mut();
        headers.remove(AUTHORIZATION);
        headers.insert(COOKIE, format!("user={user}").parse().unwrap());
        handshake
    }

    async fn mirror(&self, user: &str, name: &str, text: &'static str) -> Mirror {
        let handshake = self.handshake(user, &format!("name={name}"));
        Mirror::dialled(handshake, move |_| answered(200, text)).await
    }

    /// Asks as a user's browser does.
    async fn ask(&self, user: &str, line: &str) -> Answer {
        let host = self.address;
        let fields = format!("Host: {host}\r\nCookie: user={user}\r\nConnection: close");
        raw(host, format!("{line} HTTP/1.1\r\n{fields}\r\n\r\n")).await
    }

    fn tunnel(&self, user: &str, name: &str) -> Option<Tunnel> {
        self.relay.mirror(&Owner::new(user), &name.parse().unwrap())
    }

    async fn event(&mut self) -> Event {
        let event = timeout(PATIENCE, self.events.recv()).await;
        event.expect("no event in time").unwrap()
    }
}

async fn content(response: Response<TunnelBody>) -> Bytes {
    let body = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX);
    body.await.unwrap()
}

#[tokio::test]
async fn an_app_says_whose_mirrors_are_whose_under_a_path_of_its_own() {
    let app = App::start().await;
    let anas = app.mirror("ana", "prometheus", "ana's").await;
    let _bens = app.mirror("ben", "prometheus", "ben's").await;
    assert_eq!(anas.address, "/tunnels/mirrors/prometheus/");
    for (user, text) in [("ana", "ana's"), ("ben", "ben's")] {
        let call = app
            .ask(user, "GET /tunnels/mirrors/prometheus/a//b?q={}")
            .await;
        assert_eq!(call.text(), text);
        let list = app.ask(user, "GET /tunnels/mirrors").await;
        let list: Value = serde_json::from_slice(&list.body).unwrap();
        assert_eq!(list.as_array().unwrap().len(), 1);
        assert_eq!(list[0]["address"], "/tunnels/mirrors/prometheus/");
        assert_eq!(list[0]["peer"], "127.0.0.1");
    }
    assert_eq!(anas.last().target(), "/a//b?q={}");
    assert_eq!(anas.last().field("cookie"), [""; 0], "it is the app's own");
    assert_eq!(visit(app.address, "/").await.text(), "the app's own page");

    for (user, status, error) in [
        ("", 401, "wrong-token"),
        ("mallory", 403, "not-yours"),
        ("unknowable", 503, "no-answer"),
    ] {
        let answer = app.ask(user, "GET /tunnels/mirrors/prometheus/").await;
        assert_eq!((answer.status(), answer.error()), (status, Some(error)));
        let answer = refused(app.handshake(user, "name=x")).await;
        assert_eq!((answer.0, answer.1.as_str()), (status, error));
    }
    assert_eq!(visit(app.address, "/tunnels/mirrors").await.status(), 401);
}

#[tokio::test]
async fn an_app_finds_tunnels_and_knows_of_each() {
    let app = App::with(|config| config.domain = Some("t.example".parse().unwrap())).await;
    let before = SystemTime::now();
    let handshake = app.handshake("ana", "name=blog&public=true");
    let _blog = Mirror::dialled(handshake, |_| answered(200, "")).await;
    let _app = app.mirror("ana", "app", "").await;
    let _other = app.mirror("ben", "app", "").await;

    let of_ana = app.relay.mirrors(&Owner::new("ana"));
    let names = of_ana.iter().map(|tunnel| tunnel.name().unwrap().as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["app", "blog"]);
    assert_eq!(app.relay.mirrors(&Owner::new("cleo")), []);
    assert_eq!(app.relay.tunnels().len(), 3);
    let host = "blog.t.example".parse().unwrap();
    assert_eq!(app.relay.host(&host), app.tunnel("ana", "blog"));

    let blog = app.tunnel("ana", "blog").unwrap();
    assert_eq!(blog.owner(), &Owner::new("ana"));
    assert_eq!(blog.host(), Some(&host));
    assert_eq!(blog.dialect(), Dialect::MagicMirror);
    assert_eq!(blog.peer(), Some("127.0.0.1".parse().unwrap()));
    assert!(before <= blog.connected_since() && blog.connected_since() <= blog.last_seen());
    blog.call(Request::new(Body::empty())).await.unwrap();
    assert_eq!(blog.calls(), 1);
    assert!(blog.last_seen() <= SystemTime::now());
    assert_ne!(app.tunnel("ana", "app"), app.tunnel("ben", "app"));
    assert_eq!(app.tunnel("ana", "none"), None);
}

#[tokio::test]
async fn a_relay_that_is_about_to_stop_takes_no_client_and_keeps_those_it_has() {
    let app = App::start().await;
    let _mirror = app.mirror("ana", "app", "still here").await;
    app.relay.go_away();
    for name in ["app", "other"] {
        let handshake = app.handshake("ana", &format!("name={name}"));
        let (status, code, _) = refused(handshake).await;
        assert_eq!((status, &*code), (503, "stopping"), "{name}");
    }
    assert_eq!(app.relay.tunnels().len(), 1);
    let answer = app.ask("ana", "GET /tunnels/mirrors/app/").await;
    assert_eq!((answer.status(), answer.text()), (200, "still here"));
}

/// Sends the body of a call back as it comes.
async fn echo(call: IncomingCall) {
    let (head, body) = call.request.into_parts();
    let target = head.uri.to_string();
    let response = Response::builder().header("x-target", target).body(body);
    call.responder.respond(response.unwrap()).await;
}

#[tokio::test]
async fn an_app_calls_a_mirror_and_both_bodies_stream() {
    let app = App::start().await;
    let (socket, _) = dial(in_v2(app.handshake("ana", "name=app"))).await;
    let _playing = tokio::spawn(play(socket, Dialect::V2, echo));
    let tunnel = app.tunnel("ana", "app").unwrap();
    assert_eq!(tunnel.dialect(), Dialect::V2);

    let (say, said) = mpsc::channel::<Bytes>(1);
    let said = stream::unfold(said, async |mut said| {
        let next: Option<Bytes> = said.recv().await;
        next.map(|next| (Ok::<_, Infallible>(next), said))
    });
    // Scheme and host are the client's to decide.
    let request = Request::post("http://elsewhere.example/a//b?q")
        .header("connection", "close, x-hop")
        .header("x-hop", "1");
    let request = request.body(Body::from_stream(Box::pin(said))).unwrap();
    let response = tunnel.call(request).await.unwrap();
    assert_eq!(response.headers()["x-target"], "/a//b?q");
    let mut heard = Body::new(response.into_body()).into_data_stream();
    for word in ["one", "two", "three"] {
        say.send(word.into()).await.unwrap();
        let next = timeout(PATIENCE, heard.next()).await;
        assert_eq!(next.expect("it does not stream").unwrap().unwrap(), word);
    }
    drop(say);
    assert!(heard.next().await.is_none());
}

#[tokio::test]
async fn only_path_and_query_of_an_apps_call_reach_a_mirror() {
    let app = App::start().await;
    let mirror = app.mirror("ana", "app", "ok").await;
    let tunnel = app.tunnel("ana", "app").unwrap();
    let request = Request::put("http://elsewhere.example/a//b?q")
        .header("x-a", "1")
        .header("connection", "x-hop")
        .header("x-hop", "1");
    let response = tunnel
        .call(request.body(Body::from("\u{fc}")).unwrap())
        .await;
    assert_eq!(content(response.unwrap()).await, "ok");
    let asked = mirror.last();
    assert_eq!((asked.method(), asked.target()), ("PUT", "/a//b?q"));
    assert_eq!(asked.body(), "\u{fc}".as_bytes());
    assert_eq!(asked.field("x-a"), ["1"]);
    assert!(!asked.shown().contains("elsewhere") && asked.field("x-hop").is_empty());
}

const MIRRORS: &str = "GET /tunnels/mirrors";

#[tokio::test]
async fn guesses_side_by_side_learn_no_more_than_one_by_one() {
    let told = Arc::new(Notify::new());
    let slow = Slow {
        come: Barrier::new(31),
        wrong_ones_are_told: Arc::clone(&told),
    };
    let app = App::with(|config| config.access = Access::by(slow)).await;
    let wrong = async {
        let guesses = (0..30).map(|_| app.ask("guess", MIRRORS));
        let mut statuses: Vec<u16> = join_all(guesses).await.iter().map(Answer::status).collect();
        told.notify_one();
        statuses.sort_unstable();
        statuses
    };
    let (wrong, right) = tokio::join!(wrong, app.ask("ana", MIRRORS));
    assert_eq!(wrong, [[401; 10], [429; 10], [429; 10]].concat());
    assert_eq!(
        (right.status(), right.error()),
        (429, Some("too-many-attempts"))
    );
}
