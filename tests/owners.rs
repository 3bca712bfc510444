//! What is whose: names, hosts, and who takes over from whom.

use ggrok_protocol::{Dialect, Ending};
use tokio::task::JoinHandle;

use crate::support::{
    Answer, Mirror, Relay, answered, ask, dial, eventually, handshake, in_v2, listed, names,
    owners, play, raw, refused, say,
};

async fn visit(relay: &Relay, host: &str) -> Answer {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    raw(relay.address, request).await
}

fn status(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status(), answer.error())
}

/// A relay for several owners, with a domain.
async fn with_domain() -> Relay {
    Relay::with(|config| {
        owners(config);
        config.domain = Some("tunnel.example".parse().unwrap());
    })
    .await
}

/// Registers a mirror that is to be served in the relay's domain.
async fn public(relay: &Relay, name: &str, token: &str, text: &'static str) -> Mirror {
    let target = format!("/_ggrok/mirror?name={name}&public=true");
    let handshake = handshake(relay.address, &target, token);
    Mirror::dialled(handshake, move |_| answered(200, text)).await
}

#[tokio::test]
async fn owners_never_meet_though_their_mirrors_share_a_name() {
    let relay = Relay::with(owners).await;
    let mut anas = Mirror::saying(relay.address, "prometheus", "k-ana", "ana's").await;
    let bens = Mirror::saying(relay.address, "prometheus", "k-ben", "ben's").await;
    let _blog = Mirror::saying(relay.address, "blog", "k-ben", "ben's blog").await;
    let call = "GET /_ggrok/mirrors/prometheus/";
    for _ in 0..3 {
        assert_eq!(ask(relay.address, call, "k-ana").await.text(), "ana's");
        assert_eq!(ask(relay.address, call, "k-ben").await.text(), "ben's");
    }
    assert_eq!(names(relay.address, "k-ana").await, ["prometheus"]);
    assert_eq!(names(relay.address, "k-ben").await, ["blog", "prometheus"]);
    assert_eq!(names(relay.address, "k-cleo").await, [""; 0]);
    assert_eq!(listed(relay.address, "k-ana").await[0]["calls"], 3);

    ask(relay.address, "DELETE /_ggrok/mirrors/prometheus", "k-ana").await;
    assert_eq!(anas.closed().await, Some(4410));
    assert_eq!(ask(relay.address, call, "k-ben").await.text(), "ben's");
    assert!(bens.is_connected());
}

#[tokio::test]
async fn the_newest_of_one_owner_takes_the_name_over() {
    let relay = Relay::with(owners).await;
    let other = Mirror::saying(relay.address, "app", "k-ben", "ben's").await;
    let mut older = Mirror::saying(relay.address, "app", "k-ana", "older").await;
    let newer = Mirror::saying(relay.address, "app", "k-ana", "newer").await;
    assert_eq!(older.closed().await, Some(4409));
    let answer = ask(relay.address, "GET /_ggrok/mirrors/app/", "k-ana").await;
    assert_eq!(answer.text(), "newer");
    assert_eq!(names(relay.address, "k-ana").await, ["app"]);
    assert!(newer.is_connected() && other.is_connected());
    assert_eq!(relay.tunnels().await, 2);
}

#[tokio::test]
async fn serves_the_visitors_of_public_mirrors_in_its_domain() {
    let relay = with_domain().await;
    let blog = public(&relay, "blog", "k-ana", "the blog").await;
    let notes = Mirror::saying(relay.address, "notes", "k-ana", "the notes").await;
    assert_eq!(blog.address, "//blog.tunnel.example/");
    assert_eq!(notes.address, "/_ggrok/mirrors/notes/");

    for host in ["blog.tunnel.example", "BLOG.tunnel.example.:443"] {
        assert_eq!(visit(&relay, host).await.text(), "the blog");
    }
    assert_eq!(blog.last().field("host"), ["BLOG.tunnel.example.:443"]);
    for host in [
        "notes.tunnel.example",
        "tunnel.example",
        "a.blog.tunnel.example",
    ] {
        let answer = visit(&relay, host).await;
        assert_eq!(status(&answer), (404, Some("unknown-host")), "{host}");
    }
    // By their names both are their owner's.
    for (name, text) in [("blog", "the blog"), ("notes", "the notes")] {
        let line = format!("GET /_ggrok/mirrors/{name}/");
        assert_eq!(ask(relay.address, &line, "k-ana").await.text(), text);
    }
    let hosts = listed(relay.address, "k-ana").await;
    let hosts = hosts.iter().map(|mirror| &mirror["host"]);
    assert_eq!(
        hosts.collect::<Vec<_>>(),
        [&"blog.tunnel.example".into(), &serde_json::Value::Null]
    );
    assert_eq!(relay.tunnels().await, 2);
}

#[tokio::test]
async fn keeps_public_mirrors_to_their_names_where_it_has_no_domain() {
    let relay = Relay::with(owners).await;
    let blog = public(&relay, "blog", "k-ana", "the blog").await;
    assert_eq!(blog.address, "/_ggrok/mirrors/blog/");
}

#[tokio::test]
async fn the_first_owner_holds_a_host_of_the_domain() {
    let relay = with_domain().await;
    let anas = public(&relay, "blog", "k-ana", "ana's").await;
    let target = "/_ggrok/mirror?name=blog&public=true";
    let bens = || handshake(relay.address, target, "k-ben");
    let (status_code, error, text) = refused(bens()).await;
    assert_eq!((status_code, error.as_str()), (409, "taken"));
    assert!(text.contains("another owner"), "{text}");
    // The name alone is everybody's.
    let _not_public = Mirror::saying(relay.address, "blog", "k-ben", "ben's").await;
    assert_eq!(visit(&relay, "blog.tunnel.example").await.text(), "ana's");

    drop(anas);
    eventually("it is offline", async || {
        (visit(&relay, "blog.tunnel.example").await.status() == 503).then_some(())
    })
    .await;
    assert_eq!(refused(bens()).await.0, 409);
    let _again = public(&relay, "blog", "k-ana", "ana's again").await;
    assert_eq!(
        visit(&relay, "blog.tunnel.example").await.text(),
        "ana's again"
    );
}

#[tokio::test]
async fn an_owner_who_deletes_a_mirror_twice_frees_its_host() {
    let relay = with_domain().await;
    let mut anas = public(&relay, "blog", "k-ana", "ana's").await;
    let delete = "DELETE /_ggrok/mirrors/blog";
    ask(relay.address, delete, "k-ana").await;
    anas.closed().await;
    eventually("it is offline", async || {
        names(relay.address, "k-ana").await.is_empty().then_some(())
    })
    .await;
    // It is nobody else's to free.
    assert_eq!(ask(relay.address, delete, "k-ben").await.status(), 404);
    assert_eq!(visit(&relay, "blog.tunnel.example").await.status(), 503);
    ask(relay.address, delete, "k-ana").await;
    assert_eq!(visit(&relay, "blog.tunnel.example").await.status(), 404);
    let _bens = public(&relay, "blog", "k-ben", "ben's").await;
    assert_eq!(visit(&relay, "blog.tunnel.example").await.text(), "ben's");
}

/// Registers for a host, and says the same to all its visitors until the tunnel ends.
async fn serving(
    relay: &Relay,
    host: &str,
    dialect: Dialect,
    text: &'static str,
) -> (String, JoinHandle<Ending>) {
    let target = format!("/$$ggrok?host={host}");
    let mut handshake = handshake(relay.address, &target, "k-ana");
    if dialect == Dialect::V2 {
        handshake = in_v2(handshake);
    }
    let (socket, response) = dial(handshake).await;
    let address = response.headers()["x-ggrok-address"].to_str().unwrap();
    let playing = async move {
        let played = play(socket, dialect, move |call| say(call, text.to_owned()));
        played.await.unwrap()
    };
    (address.to_owned(), tokio::spawn(playing))
}

#[tokio::test]
async fn serves_the_hosts_that_a_token_allows() {
    let relay = Relay::with(owners).await;
    let (address, older) = serving(&relay, "App.ana.example:80", Dialect::Ggrok, "older").await;
    assert_eq!(address, "//app.ana.example/");
    assert_eq!(visit(&relay, "app.ana.example").await.text(), "older");
    let (_, _newer) = serving(&relay, "app.ana.example", Dialect::V2, "newer").await;
    assert_eq!(older.await.unwrap(), Ending::Replaced);
    let newer = visit(&relay, "app.ana.example").await;
    assert_eq!(newer.whole().unwrap(), b"newer");
    // It has no name.
    assert_eq!(names(relay.address, "k-ana").await, [""; 0]);

    for (target, expected, code) in [
        ("/$$ggrok?host=app.ben.example", 403, "not-yours"),
        ("/$$ggrok?host=ana.example", 403, "not-yours"),
        ("/$$ggrok", 403, "not-yours"),
        ("/$$ggrok?host=", 400, "bad-host"),
        ("/$$ggrok?host=a/b", 400, "bad-host"),
        (
            "/$$ggrok?host=a.ana.example&host=b.ana.example",
            400,
            "bad-host",
        ),
    ] {
        let (status, error, text) = refused(handshake(relay.address, target, "k-ana")).await;
        assert_eq!((status, error.as_str()), (expected, code), "{target}");
        assert!(
            code != "not-yours" || text.contains("file of tokens"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn no_name_above_or_below_another_owners_is_given() {
    let relay = with_domain().await;
    let register = async |name: &str, token| {
        let target = format!("/_ggrok/mirror?name={name}&public=true");
        refused(handshake(relay.address, &target, token)).await.0
    };
    let shop = public(&relay, "shop", "k-ana", "ana's").await;
    for name in ["evil.shop", "a.b.c.shop"] {
        assert_eq!(register(name, "k-ben").await, 409, "{name}");
    }
    let _below = public(&relay, "cart.shop", "k-ana", "the cart").await;
    let _deep = public(&relay, "x.blog", "k-ana", "ana's").await;
    assert_eq!(register("blog", "k-ben").await, 409);
    let _other = public(&relay, "notshop", "k-ben", "ben's").await;
    drop(shop);
    eventually("it is offline", async || {
        (visit(&relay, "shop.tunnel.example").await.status() == 503).then_some(())
    })
    .await;
    assert_eq!(register("evil.shop", "k-ben").await, 409);
}

/// The status of a registration whose handshake is for this host.
async fn register_by(relay: &Relay, host: &str, target: &str, token: &str) -> u16 {
    let mut handshake = handshake(relay.address, target, token);
    let field = host.parse().unwrap();
    handshake.headers_mut().insert("host", field);
    let stream = tokio::net::TcpStream::connect(relay.address).await.unwrap();
    match tokio_tungstenite::client_async(handshake, stream).await {
        Ok((_, response)) => response.status().as_u16(),
        Err(tokio_tungstenite::tungstenite::Error::Http(refused)) => refused.status().as_u16(),
        Err(error) => panic!("no answer: {error}"),
    }
}

#[tokio::test]
async fn the_host_by_which_others_reach_the_relay_is_no_owners() {
    let relay = with_domain().await;
    let tunnel = "/_ggrok/mirror?name=tunnel&public=true";
    let notes = "/_ggrok/mirror?name=notes";
    let own = "tunnel.tunnel.example";
    assert_eq!(register_by(&relay, own, notes, "k-ana").await, 101);
    for host in [
        own,
        "other.example",
        "tunnel.example",
        "x.tunnel.example",
        "127.0.0.1",
    ] {
        assert_eq!(
            register_by(&relay, host, tunnel, "k-ben").await,
            409,
            "{host}"
        );
    }
    // One that only called the API is known too.
    let call = "GET /_ggrok/mirrors HTTP/1.1\r\nHost: api2.tunnel.example\r\nX-Ggrok-Token: k-ana\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(relay.address, call).await.status(), 200);
    let api = "/_ggrok/mirror?name=api2&public=true";
    assert_eq!(
        register_by(&relay, "tunnel.example", api, "k-ben").await,
        409
    );
    assert_eq!(
        register_by(&relay, "tunnel.example", api, "k-ana").await,
        101
    );
}

#[tokio::test]
async fn a_public_name_is_given_only_by_a_host_of_the_relay() {
    let relay = with_domain().await;
    let blog = "/_ggrok/mirror?name=blog&public=true";
    assert_eq!(
        register_by(&relay, "other.example", blog, "k-ben").await,
        409
    );
    assert_eq!(
        register_by(&relay, "tunnel.example:80", blog, "k-ben").await,
        101
    );

    let relay = Relay::with(|config| {
        owners(config);
        config.domain = Some("tunnel.example".parse().unwrap());
        config.own_hosts = ["entry.tunnel.example", "paas.example", "app.ben.example"]
            .map(|host| host.parse().unwrap())
            .to_vec();
    })
    .await;
    let entry = "/_ggrok/mirror?name=entry&public=true";
    assert_eq!(
        register_by(&relay, "tunnel.example", entry, "k-ben").await,
        409
    );
    assert_eq!(
        register_by(&relay, "paas.example", blog, "k-ben").await,
        101
    );
    for target in ["/$$ggrok?host=app.ben.example", "/$$ggrok"] {
        assert_eq!(
            register_by(&relay, "app.ben.example", target, "k-ben").await,
            409,
            "{target}"
        );
    }
    let other = "/$$ggrok?host=x.ben.example";
    assert_eq!(
        register_by(&relay, "tunnel.example", other, "k-ben").await,
        101
    );
}

#[tokio::test]
async fn names_below_anothers_are_free_once_that_is_released() {
    let relay = with_domain().await;
    let target = "/_ggrok/mirror?name=cart.shop&public=true";
    let mut older = public(&relay, "shop", "k-ana", "older").await;
    let newer = public(&relay, "shop", "k-ana", "newer").await;
    assert_eq!(older.closed().await, Some(4409));
    assert_eq!(
        refused(handshake(relay.address, target, "k-ben")).await.0,
        409
    );
    let release = "DELETE /_ggrok/hosts/shop.tunnel.example";
    assert_eq!(ask(relay.address, release, "k-ana").await.status(), 204);
    drop(newer);
    let _bens = public(&relay, "cart.shop", "k-ben", "ben's").await;
    assert_eq!(
        visit(&relay, "cart.shop.tunnel.example").await.text(),
        "ben's"
    );
    let shop = "/_ggrok/mirror?name=shop&public=true";
    assert_eq!(
        refused(handshake(relay.address, shop, "k-ana")).await.0,
        409
    );
}
