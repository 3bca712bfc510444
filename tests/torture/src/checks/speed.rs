//! Load that is held: rates, sizes and numbers, for the full tier alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::check::{Findings, Tier};
use crate::ledger::Ending;
use crate::scene::Scene;
use crate::visitor::{Ask, Door};

/// A connection that stays open between requests.
pub struct Kept {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Kept {
    pub async fn open(door: &Door) -> Self {
        let stream = TcpStream::connect(door.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (stream, host) = (BufReader::new(stream), door.host.clone());
        Self { stream, host }
    }

    /// Asks for so many bytes, and returns how long the answer took; nothing where it was not whole.
    pub async fn get(&mut self, length: usize) -> Option<Duration> {
        let asked = Instant::now();
        let request = format!("GET /0/{length}/0 HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.stream.write_all(request.as_bytes()).await.ok()?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await.ok()?;
        let is_ok = line.starts_with("HTTP/1.1 200");
        let mut announced = None;
        while line != "\r\n" {
            line.clear();
            if self.stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                announced = value.trim().parse().ok();
            }
        }
        let mut body = vec![0; announced.filter(|length| *length < 1 << 20)?];
        self.stream.read_exact(&mut body).await.ok()?;
        (is_ok && body.len() == length).then(|| asked.elapsed())
    }
}

/// 1,000 requests a second, through the tunnel and without it: a machine that stalls by itself shows it in
/// both.
pub async fn constant(tier: Tier) -> Findings {
    let scene = Scene::start("ggrok.v2", &["--log", "warn"]).await;
    let (straight, _) = constantly(&straight_to(&scene), 20).await;
    let seconds = 60;
    let (times, errors) = constantly(&scene.door, seconds).await;
    let at = |times: &[f64], part: usize| times[(times.len() - 1) * part / 1000];
    Findings::new(tier)
        .count("errors", errors, 0)
        .most("p50 ms", at(&times, 500), 3.0)
        .most("p99 ms", at(&times, 990), 25.0)
        .most("max ms", at(&times, 1000), 250.0)
        .tell(format!(
            "1,000 requests/s for {seconds} s, 1 KiB; before, without a tunnel: p50 ms {:.2}, p99 ms {:.2}, max ms {:.2}",
            at(&straight, 500),
            at(&straight, 990),
            at(&straight, 1000)
        ))
}

fn straight_to(scene: &Scene) -> Door {
    Door {
        address: scene.origin.address,
        host: "local".to_owned(),
    }
}

/// How long 1,000 requests a second took, sorted, and how many failed; whatever becomes of those before them.
/// Times count from when a request was due, so that a stall is not left out.
async fn constantly(door: &Door, seconds: u32) -> (Vec<f64>, usize) {
    let pool = Arc::new(std::sync::Mutex::new(Vec::<(Kept, Instant)>::new()));
    let mut running = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(1));
    for _ in 0..seconds * 1000 {
        let due = ticks.tick().await;
        let kept = pool.lock().unwrap().pop();
        // The relay closes connections that are idle for 15 s. After a stall there are many.
        let kept = kept.filter(|(_, since)| since.elapsed() < Duration::from_secs(10));
        let (door, pool) = (door.clone(), Arc::clone(&pool));
        running.spawn(async move {
            let mut kept = match kept {
                Some((kept, _)) => kept,
                None => Kept::open(&door).await,
            };
            kept.get(1024).await?;
            pool.lock().unwrap().push((kept, Instant::now()));
            Some(due.elapsed().as_secs_f64() * 1e3)
        });
    }
    let mut times = Vec::new();
    let mut errors = 0;
    while let Some(time) = running.join_next().await {
        match time.expect("a visitor does not panic") {
            Some(time) => times.push(time),
            None => errors += 1,
        }
    }
    times.sort_by(f64::total_cmp);
    (times, errors)
}

/// As many requests as 64 visitors can make, through the tunnel and without it.
pub async fn saturation(tier: Tier) -> Findings {
    let scene = Scene::start("ggrok.v2", &["--log", "warn"]).await;
    let (straight, _) = rate(&straight_to(&scene), 64).await;
    let (through, errors) = rate(&scene.door, 64).await;
    Findings::new(tier)
        .count("errors", errors, 0)
        .least("requests/s", through, 4000.0)
        .tell(format!(
            "direct {straight:.0}/s, ratio {:.2}; 64 visitors, 15 s, visitors and local server on the same two cores",
            through / straight
        ))
}

/// Whole answers a second that so many visitors get, and how many failed.
pub async fn rate(door: &Door, visitors: usize) -> (f64, usize) {
    let span = Duration::from_secs(15);
    let mut running = JoinSet::new();
    for _ in 0..visitors {
        let door = door.clone();
        running.spawn(async move {
            let mut kept = Kept::open(&door).await;
            let (started, mut got, mut errors) = (Instant::now(), 0_u32, 0);
            while started.elapsed() < span {
                match kept.get(1024).await {
                    Some(_) => got += 1,
                    None => {
                        errors += 1;
                        kept = Kept::open(&door).await;
                    }
                }
            }
            (got, errors)
        });
    }
    let counts = running.join_all().await;
    let got: u32 = counts.iter().map(|(got, _)| got).sum();
    let errors = counts.iter().map(|(_, errors)| errors).sum();
    (f64::from(got) / span.as_secs_f64(), errors)
}

/// 1,000 requests at a time, to a local server that takes ten seconds for each.
pub async fn at_once(tier: Tier) -> Findings {
    let scene = Scene::start("ggrok.v2", &[]).await;
    let before = [&scene.relay.program, &scene.client.program].map(|program| program.memory());
    let requests = 1000;
    let mut visitors = JoinSet::new();
    for _ in 0..requests {
        let (door, ledger) = (scene.door.clone(), scene.ledger.clone());
        let ask = Ask::slow(1000, Duration::from_secs(10));
        visitors.spawn(async move { door.ask(&ledger, ask).await });
    }
    sleep(Duration::from_secs(8)).await;
    let after = [&scene.relay.program, &scene.client.program].map(|program| program.memory());
    let endings = visitors.join_all().await;
    let whole = endings.iter().filter(|ending| **ending == Ending::Whole);
    let grown = [0, 1].map(|at: usize| after[at].saturating_sub(before[at]) as f64 / 1000.0);
    Findings::new(tier)
        .count("answers whole", whole.count(), requests)
        .count("violations", scene.violations(), 0)
        .most("KiB of the relay's for each", grown[0], 64.0)
        .most("KiB of the client's for each", grown[1], 64.0)
}

/// A visitor who takes 4 MB/s of an answer without end in sight: neither program holds it.
pub async fn slow_reader(tier: Tier) -> Findings {
    let scene = Scene::start("ggrok.v2", &[]).await;
    let programs = [&scene.relay.program, &scene.client.program];
    let before = programs.map(|program| program.memory());
    let mut stream = TcpStream::connect(scene.door.address).await.unwrap();
    let request = format!(
        "GET /0/{}/0 HTTP/1.1\r\nHost: {}\r\n\r\n",
        256 << 20,
        scene.door.host
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut taken, mut most) = (0, 0.0_f64);
    let mut buffer = vec![0; 400_000];
    let mut ticks = interval(Duration::from_millis(100));
    while taken < 128 << 20 {
        ticks.tick().await;
        stream.read_exact(&mut buffer).await.unwrap();
        taken += buffer.len();
        let grown = [0, 1].map(|at: usize| programs[at].memory().saturating_sub(before[at]));
        most = most.max((grown[0].max(grown[1])) as f64 / 1024.0);
    }
    Findings::new(tier)
        .most("MiB grown", most, 64.0)
        .tell("128 MiB of an answer at 4 MB/s")
}

/// One large body each way.
pub async fn bulk(tier: Tier) -> Findings {
    let scene = Scene::start("ggrok.v2", &[]).await;
    let bytes: usize = 256 << 20;
    let mut rates = Vec::new();
    let down = Ask::get(bytes);
    let up = Ask {
        upload: bytes,
        download: 100,
        pause: Duration::ZERO,
    };
    let mut whole = 0;
    for ask in [down, up] {
        // The letters take longer to make than to send: that time is taken off.
        let making = Instant::now();
        let letters = crate::content::content(1, bytes);
        let made = making.elapsed();
        drop(letters);
        let asked = Instant::now();
        whole += usize::from(scene.door.ask(&scene.ledger, ask).await == Ending::Whole);
        let took = asked.elapsed().saturating_sub(2 * made);
        rates.push(bytes as f64 / 1e6 / took.as_secs_f64());
    }
    Findings::new(tier)
        .count("bodies whole", whole, 2)
        .count("violations", scene.violations(), 0)
        .least("down MB/s", rates[0], 100.0)
        .least("up MB/s", rates[1], 100.0)
        .tell("256 MiB each way, compared byte by byte; the time to make and compare them is taken off")
}
