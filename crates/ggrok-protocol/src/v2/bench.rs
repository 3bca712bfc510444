//! What the micro-benchmarks run of heads and frames.

use bytes::Bytes;
use http::{Request, Response};

use super::call::CallId;
use super::frame::Frame;
use super::head::{self, Asks, Known};
use crate::bench::Operation;

/// Writing and reading heads.
pub(crate) fn heads(request: &Request<Bytes>, response: &Response<Bytes>) -> [Operation; 6] {
    let (asked, _) = request.clone().into_parts();
    let (answered, _) = response.clone().into_parts();
    let write_request = move || head::encode_request(&asked, &Asks::default());
    let write_response = move || head::encode_response(&answered, None);
    let (request, response) = (write_request(), write_response());
    let (next_request, next_response) = (request.clone(), response.clone());
    let [mut requests, mut responses] = [Known::default(), Known::default()];
    [
        Operation::new("v2: encode request head", write_request),
        Operation::new("v2: decode request head, the first", move || {
            head::decode_request(&head::own(&request), &mut Known::default()).expect("ours")
        }),
        Operation::new("v2: decode request head, like one before", move || {
            head::decode_request(&head::own(&next_request), &mut requests).expect("ours")
        }),
        Operation::new("v2: encode response head", write_response),
        Operation::new("v2: decode response head, the first", move || {
            head::decode_response(&response, &mut Known::default()).expect("ours")
        }),
        Operation::new("v2: decode response head, like one before", move || {
            head::decode_response(&next_response, &mut responses).expect("ours")
        }),
    ]
}

/// Writing and reading frames: one with a head and this body, and one of data as large as any.
pub(crate) fn frames(body: &Bytes) -> [Operation; 4] {
    let call = CallId::new(1);
    let head = Frame::Head {
        call,
        head: Bytes::from(vec![b' '; HEAD]),
        body: body.clone(),
        end: true,
    };
    let data = Frame::Data {
        call,
        body: Bytes::from(vec![b' '; DATA]),
        end: false,
    };
    let [head_message, data_message] =
        [&head, &data].map(|frame| frame.clone().encode().concat().into());
    let decode = |message: &Bytes| Frame::decode(message.clone()).expect("ours");
    [
        Operation::new("v2: encode head frame", move || head.clone().encode()),
        Operation::new("v2: decode head frame", move || decode(&head_message)),
        Operation::new("v2: encode data frame", move || data.clone().encode()),
        Operation::new("v2: decode data frame", move || decode(&data_message)),
    ]
}

/// Bytes of a browser's head in JSON.
const HEAD: usize = 700;

/// The most that a frame of data carries, in bytes.
const DATA: usize = 64 << 10;
