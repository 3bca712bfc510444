//! Answers that come before anybody asked.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::local::Local;
use super::strict::{request, responses};
use crate::support::{Client, DIALECTS, Stage, example, exchange, hosted, tenant};

const EARLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";

#[tokio::test]
async fn a_connection_on_which_an_unasked_answer_came_is_closed() {
    for dialect in DIALECTS {
        let stage = Stage::new(dialect).await;
        let mut visitor = stage.visitor("").await;
        for _ in 0..3 {
            visitor.send(hosted("GET / HTTP/1.1\r\nHOST\r\n\r\n")).await;
            let mut local = stage.local().await;
            local.head().await;
            local
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                .await;
            visitor.head().await;
            assert_eq!(visitor.exactly(2).await, b"hi");
            local.send(EARLY).await;
            assert_eq!(local.rest().await, b"");
        }
    }
}

#[tokio::test]
async fn a_local_server_that_speaks_first_gives_nobody_the_answer_of_another() {
    for dialect in DIALECTS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let speaking = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut buffer = Vec::new();
                    stream.write_all(EARLY).await.ok();
                    while let Ok(1..) = stream.read_buf(&mut buffer).await {
                        while let Some((request, length)) = request(&buffer).unwrap() {
                            buffer.drain(..length);
                            Local::answer(&mut stream, &request).await;
                        }
                    }
                });
            }
        });
        let relay = example(|_| {}).await;
        let _client = Client::ready(tenant(&relay, address, dialect, "app")).await;
        for number in 0..20 {
            let ask = format!("GET /{number} HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n");
            let got = exchange(relay.address, &hosted(ask)).await;
            let got = responses(&got, "GET", true).unwrap();
            let [answer] = &got[..] else {
                panic!("not one answer: {got:?}")
            };
            let own = format!("/{number}");
            let is_own = answer.body == own.as_bytes() || answer.body == b"early";
            assert!(answer.status == 502 || is_own, "{number}: {answer:?}");
        }
        speaking.abort();
    }
}
