//! Frames: one binary message each, a short header and a payload.

use bytes::{BufMut, Bytes, BytesMut};

use super::call::CallId;
use crate::error::ResetCode;

/// What a frame says. Kinds that are not known are skipped, so that versions can differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A request's or response's head, and the first or the whole body behind it.
    Head {
        call: CallId,
        head: Bytes,
        body: Bytes,
        end: bool,
    },
    /// Bytes of a body.
    Data {
        call: CallId,
        body: Bytes,
        end: bool,
    },
    /// The end of a body with trailer fields.
    Trailers { call: CallId, fields: Bytes },
    /// So many more bytes may be sent.
    Window { call: CallId, credit: u32 },
    /// The call is over, for both sides.
    Reset { call: CallId, code: ResetCode },
    /// No new calls will come over this tunnel.
    GoAway,
}

/// A message that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoFrame;

const HEAD: u8 = 1;
const DATA: u8 = 2;
const TRAILERS: u8 = 3;
const WINDOW: u8 = 4;
const RESET: u8 = 5;
const GO_AWAY: u8 = 6;

/// Flag of Head and Data: the body ends here.
const END: u8 = 1;

/// Kind, flags, call.
const HEADER: usize = 6;

impl Frame {
    /// Writes the frame in two parts, of which the second is a body that is large, or a head without one:
    /// what is small is copied behind the first.
    pub(crate) fn encode(self) -> [Bytes; 2] {
        let (out, behind) = match self {
            Self::Head {
                call,
                head,
                body,
                end,
            } => {
                // A head is far below 4 GiB: the message's limit is.
                let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
                let pieces = if body.is_empty() {
                    [Bytes::new(), Bytes::new(), head]
                } else {
                    let (along, behind) = apart(body);
                    [head, along, behind]
                };
                let [head, along, behind] = pieces;
                let mut out = header(HEAD, end, call, 4 + head.len() + along.len());
                out.put_u32(length);
                out.put_slice(&head);
                out.put_slice(&along);
                (out, behind)
            }
            Self::Data { call, body, end } => {
                let (along, behind) = apart(body);
                let mut out = header(DATA, end, call, along.len());
                out.put_slice(&along);
                (out, behind)
            }
            Self::Trailers { call, fields } => (header(TRAILERS, true, call, 0), fields),
            Self::Window { call, credit } => {
                let mut out = header(WINDOW, false, call, 4);
                out.put_u32(credit);
                (out, Bytes::new())
            }
            Self::Reset { call, code } => {
                let mut out = header(RESET, false, call, 2);
                out.put_u16(code.number());
                (out, Bytes::new())
            }
            Self::GoAway => (header(GO_AWAY, false, CallId::NONE, 0), Bytes::new()),
        };
        [out.freeze(), behind]
    }

    /// Reads a frame; nothing where its kind is not known. Payloads are slices of the message.
    pub(crate) fn decode(mut message: Bytes) -> Result<Option<Self>, NoFrame> {
        let Some(&[kind, flags, a, b, c, d]) = message.first_chunk::<HEADER>() else {
            return Err(NoFrame);
        };
        let call = CallId::new(u32::from_be_bytes([a, b, c, d]));
        let payload = message.split_off(HEADER);
        let end = flags & END != 0;
        Ok(Some(match kind {
            HEAD => {
                let (head, body) = split_head(payload)?;
                Self::Head {
                    call,
                    head,
                    body,
                    end,
                }
            }
            DATA => Self::Data {
                call,
                body: payload,
                end,
            },
            TRAILERS => Self::Trailers {
                call,
                fields: payload,
            },
            WINDOW => Self::Window {
                call,
                credit: u32::from_be_bytes(*payload.first_chunk().ok_or(NoFrame)?),
            },
            RESET => {
                let code = u16::from_be_bytes(*payload.first_chunk().ok_or(NoFrame)?);
                Self::Reset {
                    call,
                    code: ResetCode::from_number(code),
                }
            }
            GO_AWAY => Self::GoAway,
            _ => return Ok(None),
        }))
    }
}

/// A frame that is larger than data and control frames may be, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LargeFrame {
    Head(CallId),
    Trailers(CallId),
    /// Of a kind that is not known, which is ignored.
    Unknown,
    /// Of a kind that is never so large.
    TooLarge,
}

impl LargeFrame {
    pub(crate) fn of(start: &[u8]) -> Self {
        let Some(&[kind, _, a, b, c, d]) = start.first_chunk::<HEADER>() else {
            return Self::TooLarge;
        };
        let call = CallId::new(u32::from_be_bytes([a, b, c, d]));
        match kind {
            HEAD => Self::Head(call),
            TRAILERS => Self::Trailers(call),
            DATA | WINDOW | RESET | GO_AWAY => Self::TooLarge,
            _ => Self::Unknown,
        }
    }
}

fn header(kind: u8, end: bool, call: CallId, payload: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEADER + payload);
    out.put_u8(kind);
    out.put_u8(u8::from(end) * END);
    out.put_u32(call.number());
    out
}

/// What of a body is copied behind its header, and what goes out as it is.
fn apart(body: Bytes) -> (Bytes, Bytes) {
    if body.len() < LARGE {
        (body, Bytes::new())
    } else {
        (Bytes::new(), body)
    }
}

/// Bytes of a body that is not copied.
const LARGE: usize = 1 << 10;

fn split_head(mut payload: Bytes) -> Result<(Bytes, Bytes), NoFrame> {
    let length = u32::from_be_bytes(*payload.first_chunk().ok_or(NoFrame)?) as usize;
    let mut head = payload.split_off(4);
    if length > head.len() {
        return Err(NoFrame);
    }
    let body = head.split_off(length);
    Ok((head, body))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{CallId, Frame, LARGE, NoFrame, ResetCode};

    fn any_frame() -> impl Strategy<Value = Frame> {
        let call = any::<u32>().prop_map(CallId::new);
        let bytes = || prop::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from);
        prop_oneof![
            (call.clone(), bytes(), bytes(), any::<bool>()).prop_map(|(call, head, body, end)| {
                Frame::Head {
                    call,
                    head,
                    body,
                    end,
                }
            }),
            (call.clone(), bytes(), any::<bool>()).prop_map(|(call, body, end)| Frame::Data {
                call,
                body,
                end
            }),
            (call.clone(), bytes()).prop_map(|(call, fields)| Frame::Trailers { call, fields }),
            (call.clone(), any::<u32>()).prop_map(|(call, credit)| Frame::Window { call, credit }),
            (call, any::<u16>()).prop_map(|(call, code)| {
                let code = ResetCode::from_number(code);
                Frame::Reset { call, code }
            }),
            Just(Frame::GoAway),
        ]
    }

    proptest! {
        #[test]
        fn reads_every_frame_that_it_writes(frame in any_frame()) {
            prop_assert_eq!(Frame::decode(frame.clone().encode().concat().into()), Ok(Some(frame)));
        }

        #[test]
        fn survives_any_message(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            Frame::decode(bytes.into()).ok();
        }
    }

    #[test]
    fn writes_what_the_documentation_states() {
        let frame = Frame::Head {
            call: CallId::new(0x0102_0304),
            head: Bytes::from_static(b"{}"),
            body: Bytes::from_static(b"hi"),
            end: true,
        };
        assert_eq!(
            frame.encode().concat(),
            b"\x01\x01\x01\x02\x03\x04\0\0\0\x02{}hi"
        );
        let reset = Frame::Reset {
            call: CallId::new(7),
            code: ResetCode::Refused,
        };
        assert_eq!(reset.encode().concat(), b"\x05\0\0\0\0\x07\0\x03");
        assert_eq!(Frame::GoAway.encode().concat(), b"\x06\0\0\0\0\0");
    }

    #[test]
    fn copies_small_bodies_alone_and_heads_that_have_one() {
        let (call, head) = (CallId::new(1), Bytes::from_static(b"{}"));
        for (length, copied) in [(0, None), (LARGE - 1, Some(true)), (LARGE, Some(false))] {
            let body = Bytes::from(vec![7; length]);
            let with_head = Frame::Head {
                call,
                head: head.clone(),
                body: body.clone(),
                end: false,
            };
            let data = Frame::Data {
                call,
                body: body.clone(),
                end: true,
            };
            let is_apart = |part: &Bytes, whole: &Bytes| part.as_ptr() == whole.as_ptr();
            let parts = with_head.clone().encode();
            match copied {
                None => assert!(parts[1] == head && is_apart(&parts[1], &head)),
                Some(true) => assert!(parts[1].is_empty()),
                Some(false) => assert!(parts[1] == body && is_apart(&parts[1], &body)),
            }
            assert_eq!(Frame::decode(parts.concat().into()), Ok(Some(with_head)));
            let parts = data.clone().encode();
            assert_eq!(parts[1].is_empty(), length < LARGE);
            assert_eq!(Frame::decode(parts.concat().into()), Ok(Some(data)));
        }
    }

    #[test]
    fn tells_a_broken_frame_from_an_unknown_one() {
        let decode = |bytes: &'static [u8]| Frame::decode(Bytes::from_static(bytes));
        for broken in [
            &b""[..],
            b"\x01\0\0\0\0",
            b"\x01\0\0\0\0\x01\0",
            b"\x04\0\0\0\0\x01\0\0\0",
            b"\x05\0\0\0\0\x01\0",
        ] {
            assert_eq!(decode(broken), Err(NoFrame), "{broken:?}");
        }
        assert_eq!(decode(b"\x63\0\0\0\0\x01later"), Ok(None));
    }
}
