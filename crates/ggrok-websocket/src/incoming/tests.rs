//! What is plain, and what is the library's.

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::{HEADER, Incoming, ROOM, STEP};

fn incoming(masked: bool) -> Incoming {
    Incoming::new(masked, 1000)
}

impl Incoming {
    fn reads(&mut self, bytes: &[u8]) {
        self.room().extend_from_slice(bytes);
    }

    fn gives(&mut self) -> Vec<u8> {
        let mut buffer = [0; 100];
        let mut buffer = ReadBuf::new(&mut buffer);
        self.give(&mut buffer);
        buffer.filled().to_vec()
    }
}

#[test]
fn takes_plain_messages_wherever_they_are_cut() {
    let frames = b"\x82\x03one\x82\x00\x82\x7e\x00\x05three\x82\x7f\0\0\0\0\0\0\0\x04four";
    for at in 0..=frames.len() {
        let mut incoming = incoming(false);
        let mut messages = vec![];
        let (early, late) = frames.split_at(at);
        for part in [early, late] {
            incoming.reads(part);
            while let Some(message) = incoming.message() {
                messages.push(message);
            }
            assert_eq!(incoming.gives(), b"");
        }
        assert_eq!(messages, [&b"one"[..], b"", b"three", b"four"]);
    }
}

#[test]
fn takes_a_clients_mask_away() {
    let mut incoming = incoming(true);
    incoming.reads(b"\x82\x86\x01\x02\x03\x04\x60\x60\x60\x60\x64\x64");
    assert_eq!(incoming.message().as_deref(), Some(&b"abcdef"[..]));
    assert_eq!(incoming.message(), None);
}

/// Each of these and what is behind it, which is ours again or not.
#[test]
fn leaves_to_the_library_what_is_no_plain_message() {
    let plain = b"\x82\x01x";
    for (frame, is_one) in [
        (&b"\x81\x02no"[..], true),
        (b"\x88\x02\x03\xe8", true),
        (b"\x89\x00", true),
        (b"\x8a\x7e\x00\x01!", true),
        (b"\xc2\x02no", true),
        (b"\xa2\x02no", true),
        (b"\x92\x02no", true),
        (b"\x82\x82\x01\x02\x03\x04no", true),
        // No opcodes that there are.
        (b"\x83\x02no", false),
        (b"\x8b\x00", false),
        // The first of several, and one that belongs to none.
        (b"\x02\x02no", false),
        (b"\x01\x02no", false),
        (b"\x00\x02no", false),
    ] {
        let mut incoming = incoming(false);
        incoming.reads(frame);
        incoming.reads(plain);
        assert_eq!(incoming.message(), None, "{frame:?}");
        let mut given = incoming.gives();
        assert!(given.starts_with(frame), "{frame:?}");
        given.extend(incoming.gives());
        let message = incoming.message();
        if is_one {
            assert_eq!((&given[..], message), (frame, Some(Bytes::from("x"))));
        } else {
            assert_eq!((given, message), ([frame, plain].concat(), None));
        }
    }
}

#[test]
fn a_message_in_parts_is_the_librarys_with_all_that_is_between() {
    let mut incoming = incoming(false);
    let parts = [&b"\x02\x01a"[..], b"\x89\x00", b"\x00\x01b", b"\x80\x01c"];
    let mut given = vec![];
    for part in parts {
        incoming.reads(part);
        assert_eq!(incoming.message(), None);
        given.extend(incoming.gives());
    }
    assert_eq!(given, parts.concat());
    incoming.reads(b"\x82\x01x");
    assert_eq!(incoming.message().as_deref(), Some(&b"x"[..]));
}

#[test]
fn leaves_to_the_library_what_is_too_long() {
    for length in [1001_u64, 1 << 20, u64::MAX] {
        let mut incoming = incoming(false);
        let header = [&b"\x82\x7f"[..], &length.to_be_bytes()].concat();
        incoming.reads(&header);
        assert_eq!(incoming.message(), None);
        assert_eq!(incoming.gives(), header);
    }
}

#[test]
fn leaves_to_the_library_what_comes_behind_the_end() {
    let mut incoming = incoming(false);
    incoming.reads(b"\x82\x01x\x82\x01y");
    assert!(incoming.message().is_some());
    incoming.end();
    assert_eq!(incoming.message(), None);
    assert_eq!(incoming.gives(), b"\x82\x01y");
}

#[test]
fn has_room_for_what_is_announced_and_not_for_all_of_it() {
    let mut incoming = Incoming::new(false, usize::MAX);
    let spare = |incoming: &mut Incoming| {
        let room = incoming.room();
        room.capacity() - room.len()
    };
    assert_eq!(spare(&mut incoming), ROOM);
    incoming.reads(b"\x82\x7f\0\0\0\0\0\x01\0\0");
    assert_eq!(incoming.message(), None);
    assert_eq!(spare(&mut incoming), HEADER + (64 << 10));
    let mut incoming = Incoming::new(false, usize::MAX);
    incoming.reads(b"\x82\x7f\x01\0\0\0\0\0\0\0");
    assert_eq!(incoming.message(), None);
    let room = spare(&mut incoming);
    assert!((STEP..=2 * STEP).contains(&room), "{room}");
}

#[test]
fn rests_without_a_buffer() {
    let mut incoming = incoming(false);
    incoming.reads(b"\x82\x01x\x82");
    assert!(incoming.message().is_some());
    incoming.rest();
    incoming.reads(b"\x01y");
    assert_eq!(incoming.message().as_deref(), Some(&b"y"[..]));
    incoming.rest();
    assert_eq!(incoming.read.capacity(), 0);
}

#[test]
fn what_comes_behind_a_large_message_does_not_keep_it() {
    let mut incoming = Incoming::new(false, usize::MAX);
    incoming.reads(b"\x82\x7f\0\0\0\0\0\x01\0\0");
    assert_eq!(incoming.message(), None);
    incoming.reads(&[b'x'; 64 << 10]);
    incoming.reads(b"\x82\x01y");
    let large = incoming.message().unwrap();
    assert!(large.len() == 64 << 10 && large.is_unique());
    assert_eq!(incoming.message().as_deref(), Some(&b"y"[..]));
}

#[test]
fn goes_on_in_the_buffer_that_it_has() {
    let mut incoming = incoming(false);
    let frame = [&b"\x82\x7e\x03\x84"[..], &[b'x'; 900]].concat();
    let (stream, mut read, mut messages) = (frame.repeat(200), 0, 0);
    while read < stream.len() {
        let room = incoming.room();
        let part = (room.capacity() - room.len()).min(1500);
        let part = &stream[read..][..part.min(stream.len() - read)];
        room.extend_from_slice(part);
        read += part.len();
        while incoming.message().is_some() {
            messages += 1;
        }
        assert!(incoming.read.capacity() <= ROOM);
    }
    assert_eq!(messages, 200);
}
