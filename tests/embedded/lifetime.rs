//! How long tunnels live in an app, and what it is told of that.

use axum::body::Body;
use ggrok_server::{CallError, Event, Host, Metrics, Owner};
use http::Request;

use super::App;
use crate::support::{Mirror, answered, eventually, get as visit, refused};

#[tokio::test]
async fn an_app_attaches_data_to_a_tunnel_for_as_long_as_that_lives() {
    #[derive(Clone, Debug, PartialEq)]
    struct Plan(&'static str);

    let app = App::start().await;
    let _older = app.mirror("ana", "app", "").await;
    let tunnel = app.tunnel("ana", "app").unwrap();
    assert_eq!(tunnel.attached::<Plan>(), None);
    tunnel.attach(Plan("free"));
    tunnel.attach(Plan("paid"));
    tunnel.attach(7_u32);
    let again = app.tunnel("ana", "app").unwrap();
    assert_eq!(again.attached(), Some(Plan("paid")));
    assert_eq!(again.attached::<u32>(), Some(7));
    let _newer = app.mirror("ana", "app", "").await;
    eventually("the newer one has the name", async || {
        let newer = app.tunnel("ana", "app")?;
        (newer != tunnel).then(|| assert_eq!(newer.attached::<Plan>(), None))
    })
    .await;
}

#[tokio::test]
async fn an_app_is_told_who_comes_and_goes() {
    let mut app = App::start().await;
    let mut mirror = app.mirror("ana", "app", "").await;
    let tunnel = app.tunnel("ana", "app").unwrap();
    assert!(matches!(app.event().await, Event::Connected(came) if came == tunnel));
    tunnel.close();
    assert_eq!(mirror.closed().await, Some(4410));
    assert!(matches!(app.event().await, Event::Disconnected(left) if left == tunnel));
    assert_eq!(app.tunnel("ana", "app"), None);
    let call = tunnel.call(Request::new(Body::empty())).await;
    assert!(matches!(call, Err(CallError::Closed)), "{call:?}");

    drop(app.mirror("ben", "app", "").await);
    assert!(matches!(app.event().await, Event::Connected(_)));
    assert!(
        matches!(app.event().await, Event::Disconnected(left) if left.owner() == &Owner::new("ben"))
    );
    // Whoever takes a name over comes before the other one goes.
    let _older = app.mirror("ana", "app", "").await;
    let Event::Connected(older) = app.event().await else {
        panic!("nobody came");
    };
    let _newer = app.mirror("ana", "app", "").await;
    assert!(matches!(app.event().await, Event::Connected(newer) if newer != older));
    assert!(matches!(app.event().await, Event::Disconnected(left) if left == older));
}

#[tokio::test]
async fn an_app_gives_the_hosts_of_its_users_free() {
    let mut app = App::with(|config| config.domain = Some("t.example".parse().unwrap())).await;
    let ana = Owner::new("ana");
    let blog: Host = "blog.t.example".parse().unwrap();
    assert_eq!(app.relay.release(&blog), None);
    let public = |user| app.handshake(user, "name=blog&public=true");
    let mut anas = Mirror::dialled(public("ana"), |_| answered(200, "ana's")).await;
    let _named = app.mirror("ana", "named", "").await;
    let tunnel = app.tunnel("ana", "blog").unwrap();
    assert_eq!(app.relay.hosts(&ana), [tunnel]);
    assert_eq!(app.relay.hosts(&Owner::new("ben")), []);
    assert_eq!(refused(public("ben")).await.0, 409);

    assert_eq!(app.relay.release(&blog), Some(ana.clone()));
    assert_eq!(
        (app.relay.host(&blog), app.relay.hosts(&ana)),
        (None, vec![])
    );
    assert_eq!(anas.closed().await, Some(4410));
    let bens = Mirror::dialled(public("ben"), |_| answered(200, "ben's")).await;
    assert_eq!(app.relay.host(&blog), app.tunnel("ben", "blog"));

    drop(bens);
    loop {
        if let Event::Disconnected(left) = app.event().await
            && left.owner() != &ana
        {
            break;
        }
    }
    assert_eq!(
        refused(app.handshake("ana", "name=blog&public=true"))
            .await
            .0,
        409
    );
    assert_eq!(app.relay.release(&blog), Some(Owner::new("ben")));
    assert_eq!(app.relay.release(&blog), None);
}

#[tokio::test]
async fn a_grant_that_ends_takes_its_tunnels_with_it() {
    let app = App::start().await;
    let mut brief = app.mirror("brief", "app", "").await;
    let lasting = app.mirror("ana", "app", "").await;
    assert_eq!(brief.closed().await, Some(4401));
    assert!(lasting.is_connected());
}

#[tokio::test]
async fn a_relay_that_closes_tells_its_clients() {
    let app = App::start().await;
    let mut mirrors = [
        app.mirror("ana", "a", "").await,
        app.mirror("ben", "b", "").await,
    ];
    app.relay.close().await;
    for mirror in &mut mirrors {
        assert_eq!(mirror.closed().await, Some(1001));
    }
    assert_eq!(app.relay.tunnels(), []);
    let (status, error, _) = refused(app.handshake("ana", "name=late")).await;
    assert_eq!((status, error.as_str()), (503, "stopping"));
    assert_eq!(visit(app.address, "/").await.text(), "the app's own page");
}

#[tokio::test]
async fn a_relay_says_that_it_is_not_ready_from_when_it_ends() {
    for drops in [false, true] {
        let metrics = Metrics::new();
        let app = App::with(|config| config.metrics = metrics.clone()).await;
        assert!(metrics.text().contains("\nggrok_ready 1\n"));
        if drops {
            drop(app);
            // With the app goes its router, as soon as its server has noticed.
            eventually("it says so", async || {
                let ended = metrics.text().contains("\nggrok_ready 0\n");
                ended.then_some(())
            })
            .await;
        } else {
            app.relay.close().await;
            assert!(metrics.text().contains("\nggrok_ready 0\n"));
        }
    }
}

#[tokio::test]
async fn a_relay_that_is_dropped_closes_its_tunnels() {
    let mut app = App::start().await;
    let mut mirror = app.mirror("ana", "app", "").await;
    let tunnel = app.tunnel("ana", "app").unwrap();
    assert!(matches!(app.event().await, Event::Connected(_)));
    // A tunnel that somebody holds does not hold the relay.
    drop(app);
    assert_eq!(mirror.closed().await, Some(1001));
    eventually("it cannot be called", async || {
        tunnel
            .call(Request::new(Body::empty()))
            .await
            .is_err()
            .then_some(())
    })
    .await;
}
