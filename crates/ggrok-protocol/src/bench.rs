//! What the micro-benchmarks run of the codecs.
//!
//! Codecs are no public items, and stay so. The feature `bench` opens this module, and `tests/micro`
//! alone asks for it, as a dev-dependency: so `cargo bench` and `cargo clippy --all-targets` see the
//! benchmarks without a flag that somebody has to know, and they cannot rot. A cfg of our own, as for
//! fuzzing, would need RUSTFLAGS, which build everything anew and which no lint sets. What is released
//! has neither the feature nor the module.

use std::hint::black_box;

use bytes::Bytes;
use http::{Method, Request, Response};

use crate::unary::Codec;
use crate::v2;

/// One thing to measure.
pub struct Operation {
    /// What is done.
    pub name: String,
    /// How often a run does it.
    pub times: u64,
    /// Runs it. The first run may prepare what the others use.
    pub run: Box<dyn FnMut()>,
}

impl Operation {
    /// Makes an operation of what a run does once. The result is not optimised away.
    pub fn new<T>(name: impl Into<String>, mut run: impl FnMut() -> T + 'static) -> Self {
        Self {
            name: name.into(),
            times: 1,
            run: Box::new(move || {
                black_box(run());
            }),
        }
    }

    /// Says that a run does it so often.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }
}

/// Writing and reading this request and this response, in every dialect.
pub fn codecs(request: &Request<Bytes>, response: &Response<Bytes>) -> Vec<Operation> {
    let mut operations = Vec::new();
    operations.extend(envelopes("ggrok", Codec::Ggrok, request, response));
    let codec = Codec::MagicMirror;
    operations.extend(envelopes("magic-mirror", codec, request, response));
    operations.extend(v2::bench::heads(request, response));
    operations.extend(v2::bench::frames(request.body()));
    operations
}

fn envelopes(
    dialect: &str,
    codec: Codec,
    request: &Request<Bytes>,
    response: &Response<Bytes>,
) -> [Operation; 4] {
    let name = |what| format!("{dialect}: {what}");
    let (asked, sent) = request.clone().into_parts();
    let (answered, body) = response.clone().into_parts();
    let write_request = move || {
        codec
            .encode_request(asked.clone(), &sent)
            .expect("it is text")
    };
    let write_response = move || codec.encode_response(&answered, &body).expect("likewise");
    let (request, response) = (write_request(), write_response());
    [
        Operation::new(name("encode request"), write_request),
        Operation::new(name("decode request"), move || {
            codec.decode_request(request.as_bytes()).expect("ours")
        }),
        Operation::new(name("encode response"), write_response),
        Operation::new(name("decode response"), move || {
            let response = codec.decode_response(response.as_bytes(), &Method::POST);
            response.expect("ours")
        }),
    ]
}
