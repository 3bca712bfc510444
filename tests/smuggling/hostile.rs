//! A hostile local server harms no visitor of another, and deceives none of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use ggrok_protocol::Dialect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answers::{Answer, End, Fate, answers};
use super::innocent::Innocents;
use super::local::Local;
use super::strict::{Response, latin, position, request, responses};
use super::{AT_ONCE, STALLED};
use crate::support::{Client, PATIENCE, example, tenant};

#[tokio::test]
async fn local_servers_deceive_nobody_in_v2() {
    no_answer_deceives(Dialect::V2).await;
}

#[tokio::test]
async fn local_servers_deceive_nobody_in_ggrok() {
    no_answer_deceives(Dialect::Ggrok).await;
}

#[tokio::test]
async fn local_servers_deceive_nobody_in_magic_mirror() {
    no_answer_deceives(Dialect::MagicMirror).await;
}

/// Asks for all answers, each alone, with a request behind it, and with the next visitor.
async fn no_answer_deceives(dialect: Dialect) {
    let mut answers = answers();
    // Where calls take turns, to wait for silence takes too long.
    answers.retain(|answer| dialect == Dialect::V2 || !answer.is_silent());
    assert!(answers.len() >= 60, "{}", answers.len());
    let answers = Arc::new(answers);
    println!("{} answers, each in two ways", answers.len());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _hostile = JoinSet::from_iter([serve(listener, Arc::clone(&answers))]);
    let relay = example(|config| {
        config.idle_timeout = STALLED;
        config.limits.answer_timeout = STALLED;
        config.limits.stream_idle = STALLED;
    })
    .await;
    let mut app = tenant(&relay, address, dialect, "app");
    app.local_timeout = STALLED;
    app.limits.stream_idle = STALLED;
    let other = Local::start().await;
    let bystander = tenant(&relay, other.address, dialect, "other");
    let _clients = [Client::ready(app).await, Client::ready(bystander).await];
    let innocents = Innocents::at(&relay);
    let mut running = JoinSet::new();
    let mut faults: Vec<String> = Vec::new();
    for number in 0..answers.len() {
        for is_followed in [false, true] {
            while running.len() >= AT_ONCE {
                faults.extend(running.join_next().await.unwrap().unwrap());
            }
            let (relay, answers) = (relay.address, Arc::clone(&answers));
            running.spawn(async move {
                let tried = attempt(relay, &answers[number], number, is_followed).await;
                tried
                    .map_err(|what| format!("{what}\n  answer: {}", answers[number].shown()))
                    .err()
            });
        }
    }
    while let Some(fault) = running.join_next().await {
        faults.extend(fault.unwrap());
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(innocents.end().await > 0, "nobody was there to be harmed");
}

/// Asks for one answer, and looks what becomes of it.
async fn attempt(
    relay: SocketAddr,
    answer: &Answer,
    number: usize,
    is_followed: bool,
) -> Result<(), String> {
    let close = "Connection: close\r\n";
    let hostile = |fields| ask(answer.method, &format!("{number}/hostile"), fields);
    let asked = match is_followed {
        true => hostile("") + &ask("GET", &format!("{number}/after"), close),
        false => hostile(close),
    };
    let seen = hear(relay, asked).await?;
    let told = |what| {
        format!(
            "{what}\n  seen: {}",
            latin(&seen[..seen.len().min(500)]).escape_debug()
        )
    };
    judge(answer, number, &seen).map_err(told)?;
    let next = hear(relay, ask("GET", &format!("{number}/next"), close)).await?;
    let told = |what| {
        format!(
            "{what}\n  next: {}",
            latin(&next[..next.len().min(500)]).escape_debug()
        )
    };
    is_next(number, &next).map_err(told)
}

/// Says something to the relay, and hears it until it closes.
async fn hear(relay: SocketAddr, said: String) -> Result<Vec<u8>, String> {
    let mut heard = Vec::new();
    let talking = async {
        let mut stream = TcpStream::connect(relay).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        // A reset is as good as an end.
        stream.read_to_end(&mut heard).await.ok();
    };
    match timeout(PATIENCE, talking).await {
        Ok(()) => Ok(heard),
        Err(_) => Err(format!(
            "the relay does not close behind {}",
            latin(&heard).escape_debug()
        )),
    }
}

fn ask(method: &str, target: &str, fields: &str) -> String {
    format!("{method} /{target} HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n")
}

/// What the visitor got: the answer's fate, and behind it nothing or the right answer.
fn judge(answer: &Answer, number: usize, seen: &[u8]) -> Result<(), String> {
    if position(seen, b"FORGED").is_some() {
        return Err("the visitor got what is no part of a message".to_owned());
    }
    let all = responses(seen, answer.method, true)?;
    let (first, behind) = all.split_first().ok_or("no answer")?;
    let is_ours = matches!(first.status, 502 | 504) && first.error().is_some() && first.is_whole;
    let is_right = match &answer.fate {
        Fate::App(status, body) => {
            first.status == *status
                && first.body == body.as_bytes()
                && first.is_whole
                && first.error().is_none()
        }
        Fate::Ours => is_ours,
        Fate::Broken => is_ours || !first.is_whole,
    };
    match behind {
        _ if !is_right => Err(format!("not {:?}", answer.fate)),
        [] => Ok(()),
        [after] if says(after, &format!("/{number}/after")) => Ok(()),
        _ => Err("something else is behind it".to_owned()),
    }
}

fn is_next(number: usize, next: &[u8]) -> Result<(), String> {
    let all = responses(next, "GET", true)?;
    match &all[..] {
        [next] if says(next, &format!("/{number}/next")) => Ok(()),
        _ => Err("the next visitor is not served".to_owned()),
    }
}

fn says(response: &Response, text: &str) -> bool {
    response.status == 200 && response.is_whole && response.body == text.as_bytes()
}

/// Serves the answer of the number in a target that says `hostile`, and to others their target.
async fn serve(listener: TcpListener, answers: Arc<Vec<Answer>>) {
    let mut open = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        open.spawn(converse(stream, Arc::clone(&answers)));
    }
}

async fn converse(mut stream: TcpStream, answers: Arc<Vec<Answer>>) {
    let mut buffer = Vec::new();
    loop {
        let read = request(&buffer).unwrap_or_else(|why| panic!("{why}"));
        let Some((request, length)) = read else {
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
            continue;
        };
        buffer.drain(..length);
        let answer = request.target.strip_suffix("/hostile").map(|number| {
            let number: usize = number[1..].parse().unwrap();
            &answers[number]
        });
        let Some(answer) = answer else {
            let (length, target) = (request.target.len(), request.target);
            let said = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}");
            // The client may have left, here and below.
            stream.write_all(said.as_bytes()).await.ok();
            continue;
        };
        stream.write_all(&answer.bytes).await.ok();
        match answer.end {
            End::Stay => {}
            End::Close => return,
            End::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        }
    }
}
