//! A dashboard that shows each user the Prometheus that runs at home, behind a mirror.
//!
//! ```sh
//! USERS=ana:secret-of-ana,ben:secret-of-ben PORT=8080 cargo run -p ggrok-server --example dashboard
//! ```
//!
//! Ana starts the client beside her Prometheus, and opens <http://127.0.0.1:8080> as `ana` with her
//! secret. Ben does the same with his, under the same name; neither sees the other's.
//!
//! ```sh
//! ggrok-client --remote ws://127.0.0.1:8080/tunnels/mirror --name prometheus \
//!     --local http://127.0.0.1:9090 --apikey secret-of-ana
//! ```

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use data_encoding::BASE64;
use ggrok_server::{
    Access, Authenticate, Config, Denied, Event, Grant, Owner, Relay, Tunnel, take_token,
};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let users: Users = env::var("USERS")
        .context("USERS holds the users, like ana:secret-of-ana,ben:secret-of-ben")?
        .parse()?;
    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;

    let access = Access::by(users.clone());
    let relay = Relay::observed(Config::new(access, 0), |event| match event {
        Event::Connected(tunnel) => println!("{} is connected", tunnel.owner()),
        Event::Disconnected(tunnel) => println!("{} is gone", tunnel.owner()),
    });
    let dashboard = Dashboard {
        users,
        relay: relay.clone(),
    };
    let app = Router::new()
        .route("/", get(page))
        .with_state(dashboard)
        .nest("/tunnels", relay.router())
        .into_make_service_with_connect_info::<SocketAddr>();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("Dashboard on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            ctrl_c().await.ok();
            relay.close().await;
        })
        .await?;
    Ok(())
}

/// The users and their secrets. A real app has them in a database.
#[derive(Clone)]
struct Users(Arc<Vec<(Owner, String)>>);

impl std::str::FromStr for Users {
    type Err = anyhow::Error;

    fn from_str(users: &str) -> anyhow::Result<Self> {
        let user = |user: &str| match user.split_once(':') {
            Some((name, secret)) if !secret.is_empty() => Ok((Owner::new(name), secret.to_owned())),
            _ => bail!("a user is written NAME:SECRET"),
        };
        let users: anyhow::Result<_> = users.split(',').map(user).collect();
        Ok(Self(Arc::new(users?)))
    }
}

impl Users {
    fn with_secret(&self, secret: &[u8]) -> Option<Owner> {
        let mut users = self.0.iter();
        let user = users.find(|(_, known)| known.as_bytes().ct_eq(secret).into());
        user.map(|(owner, _)| owner.clone())
    }

    /// The user of a page: by HTTP's basic authentication, which every browser has.
    fn of_page(&self, headers: &HeaderMap) -> Option<Owner> {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let given = BASE64
            .decode(value.strip_prefix("Basic ")?.as_bytes())
            .ok()?;
        let (name, secret) = std::str::from_utf8(&given).ok()?.split_once(':')?;
        self.with_secret(secret.as_bytes())
            .filter(|owner| owner.as_str() == name)
    }
}

/// Whose a client is, by its `--apikey`.
impl Authenticate for Users {
    async fn authenticate(&self, request: &mut Parts) -> Result<Grant, Denied> {
        let token = take_token(&mut request.headers).ok_or(Denied::NoToken)?;
        let owner = self
            .with_secret(token.as_bytes())
            .ok_or(Denied::WrongToken)?;
        Ok(Grant::new(owner))
    }
}

#[derive(Clone)]
struct Dashboard {
    users: Users,
    relay: Relay,
}

async fn page(State(dashboard): State<Dashboard>, headers: HeaderMap) -> Response {
    let Some(user) = dashboard.users.of_page(&headers) else {
        let ask = [(WWW_AUTHENTICATE, "Basic realm=\"dashboard\"")];
        return (StatusCode::UNAUTHORIZED, ask).into_response();
    };
    let name = "prometheus".parse().expect("a valid name");
    let shown = match dashboard.relay.mirror(&user, &name) {
        None => "<p>Your Prometheus is not connected. Start ggrok-client beside it.</p>".to_owned(),
        Some(prometheus) => match show(&prometheus).await {
            Ok(shown) => shown,
            Err(error) => format!("<p>No data: {}</p>", text(&format!("{error:#}"))),
        },
    };
    let user = text(user.as_str());
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Dashboard of {user}</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:3rem auto}}\
         polyline{{fill:none;stroke:currentColor;stroke-width:2}}td{{padding-right:2rem}}</style>\
         <h1>Dashboard of {user}</h1>{shown}</html>\n"
    ))
    .into_response()
}

/// Which targets are up, and a chart of each one's samples over the last minutes.
async fn show(prometheus: &Tunnel) -> anyhow::Result<String> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
    let start = now - MINUTES * 60;
    let query = "max_over_time(scrape_samples_scraped[1m])";
    let ranges = format!("/api/v1/query_range?query={query}&start={start}&end={now}&step=1");
    let ups: Vec<Series> = ask(prometheus, "/api/v1/query?query=up{job!=%22%22}").await?;
    let samples: Vec<Series> = ask(prometheus, &ranges).await?;
    let rows = ups.iter().map(Series::row).collect::<String>();
    let charts = samples.iter().map(Series::chart).collect::<String>();
    Ok(format!("<table>{rows}</table>{charts}"))
}

const MINUTES: u64 = 5;

async fn ask(prometheus: &Tunnel, target: &str) -> anyhow::Result<Vec<Series>> {
    let request = Request::get(target).body(Body::empty())?;
    let response = prometheus.call(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), 1 << 20).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("a broken answer: {error}"))?;
    if !status.is_success() {
        bail!("Prometheus answered {status}");
    }
    let answer: Answer = serde_json::from_slice(&body.to_bytes())?;
    Ok(answer.data.result)
}

/// What Prometheus answers, as far as the page needs it.
#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: Labels,
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

#[derive(Deserialize)]
struct Labels {
    job: String,
    instance: String,
}

impl Series {
    fn row(&self) -> String {
        let up = matches!(&self.value, Some((_, value)) if value == "1");
        let (job, instance) = (text(&self.metric.job), text(&self.metric.instance));
        format!(
            "<tr><td>{job}<td>{instance}<td>{}",
            if up { "up" } else { "down" }
        )
    }

    fn chart(&self) -> String {
        let values = self.values.iter();
        let values: Vec<f64> = values.filter_map(|(_, value)| value.parse().ok()).collect();
        let most = values.iter().copied().fold(1.0, f64::max);
        let step = 600.0 / (values.len().max(2) - 1) as f64;
        let points = values.iter().enumerate();
        let points = points.map(|(at, value)| {
            format!(
                "{:.1},{:.1} ",
                at as f64 * step,
                100.0 - value / most * 90.0
            )
        });
        let (job, points) = (text(&self.metric.job), points.collect::<String>());
        format!(
            "<figure><figcaption>samples of {job}, at most {most}</figcaption>\
             <svg viewBox=\"0 0 600 100\"><polyline points=\"{points}\"/></svg></figure>"
        )
    }
}

/// Somebody else's words, in a page.
fn text(words: &str) -> String {
    words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
