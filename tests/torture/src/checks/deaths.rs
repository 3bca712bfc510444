//! A local server that dies at every byte of its answer.

use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::check::{Findings, Tier};
use crate::content::content;
use crate::scene::{ClientProgram, DIALECTS, HOST, RelayProgram, exchange};
use crate::visitor::Answer;

/// How the length of an answer is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Length,
    Chunks,
    Close,
}

/// One death: after so many bytes, in order or by a reset.
#[derive(Clone, Copy, Debug)]
struct Death {
    framing: Framing,
    at: usize,
    reset: bool,
}

/// No answer that broke off looks whole, and each ends with an error or visibly broken.
pub async fn check(tier: Tier) -> Findings {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    let dying = tokio::spawn(serve(listener));
    let directory = tempfile::tempdir().unwrap();
    let relay = RelayProgram::start(&directory, &[]).await;
    let (mut cases, mut clean, mut refused, mut broken) = (0, 0, 0, 0);
    for dialect in DIALECTS {
        let address = relay.address;
        let _client = ClientProgram::start(&directory, address, HOST, local, dialect).await;
        let endings = deaths(tier).map(|death| async move {
            let host = format!("Host: {HOST}\r\nConnection: close\r\n\r\n");
            let Death { framing, at, reset } = death;
            let request = format!("GET /{framing:?}/{at}/{reset} HTTP/1.1\r\n{host}");
            let got = exchange(address, request.as_bytes()).await;
            (death, got)
        });
        let mut endings = stream::iter(endings).buffer_unordered(8);
        while let Some((death, got)) = endings.next().await {
            cases += 1;
            let got = got.unwrap_or_else(|| panic!("{death:?} never ends"));
            match ending(&got, death) {
                Seen::Refused => refused += 1,
                Seen::Broken => broken += 1,
                Seen::Whole if may_be_whole(death) => {}
                Seen::Whole => {
                    eprintln!("  {dialect}: {death:?} looks whole");
                    clean += 1;
                }
            }
        }
    }
    dying.abort();
    Findings::new(tier)
        .count("clean-looking damaged answers", clean, 0)
        .hold("none hangs", true)
        .least("cases", f64::from(cases), tier.of(200.0, 500.0))
        .tell(format!(
            "{refused} refused with 502, {broken} visibly broken"
        ))
}

enum Seen {
    Refused,
    Broken,
    Whole,
}

fn ending(got: &[u8], death: Death) -> Seen {
    let Some(answer) = Answer::read(got) else {
        return Seen::Broken;
    };
    match (answer.status, &answer.error) {
        (502, Some(_)) => Seen::Refused,
        (200, None) => match answer.whole(true) {
            None => Seen::Broken,
            Some(_) => Seen::Whole,
        },
        (status, error) => panic!("{death:?}: {status} {error:?}"),
    }
}

/// What all of it was sent of, and what is ended by nothing but the connection's end: HTTP itself
/// cannot tell that from whole (RFC 9112, section 8).
fn may_be_whole(death: Death) -> bool {
    let whole = answer(death.framing);
    let head = whole.len() - body(death.framing).len();
    death.at >= whole.len() || death.framing == Framing::Close && death.at >= head && !death.reset
}

fn deaths(tier: Tier) -> impl Iterator<Item = Death> {
    let framings = [Framing::Length, Framing::Chunks, Framing::Close];
    framings.into_iter().flat_map(move |framing| {
        let length = answer(framing).len();
        (0..=length)
            .step_by(tier.of(7, 1))
            .flat_map(move |at| [false, true].map(|reset| Death { framing, at, reset }))
    })
}

fn answer(framing: Framing) -> Vec<u8> {
    let field = match framing {
        Framing::Length => "Content-Length: 80\r\n",
        Framing::Chunks => "Transfer-Encoding: chunked\r\n",
        Framing::Close => "X-Nothing: said\r\n",
    };
    let head = format!("HTTP/1.1 200 OK\r\n{field}\r\n");
    [head.into_bytes(), body(framing)].concat()
}

fn body(framing: Framing) -> Vec<u8> {
    let body = content(8, 80);
    match framing {
        Framing::Chunks => [
            b"28\r\n",
            &body[..40],
            b"\r\n28\r\n",
            &body[40..],
            b"\r\n0\r\n\r\n",
        ]
        .concat(),
        Framing::Length | Framing::Close => body,
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(die(stream));
    }
}

/// Answers a request as far as it says, and is gone.
async fn die(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await?;
        request.push(byte);
    }
    let line = String::from_utf8_lossy(&request).into_owned();
    let parts: Vec<&str> = line.split(['/', ' ']).collect();
    let (framing, at, reset) = (parts[2], parts[3], parts[4]);
    let framing = match framing {
        "Length" => Framing::Length,
        "Chunks" => Framing::Chunks,
        _ => Framing::Close,
    };
    let answer = answer(framing);
    let at: usize = at.parse().unwrap_or(0);
    stream.write_all(&answer[..at.min(answer.len())]).await?;
    if reset == "true" {
        stream.set_zero_linger()?;
    }
    Ok(())
}
