//! Reads along what passes through a connection: HTTP/2 frames, and in them the messages of the
//! session. Headers are not looked at.

use std::collections::BTreeMap;

use prost::Message;
use warren_proto::v1 as pb;

/// What a client sends before its first frame.
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const PADDED: u8 = 8;
/// Before each message of gRPC: a flag and the length.
const MESSAGE_HEAD: usize = 5;

/// One direction of a connection.
#[derive(Debug)]
pub struct Tap {
    skip: usize,
    bytes: Vec<u8>,
    /// What has come of each stream's next message.
    streams: BTreeMap<u32, Vec<u8>>,
}

impl Tap {
    /// Of what a client sends.
    pub const fn up() -> Self {
        Self { skip: PREFACE, bytes: Vec::new(), streams: BTreeMap::new() }
    }

    /// Of what a server sends.
    pub const fn down() -> Self {
        Self { skip: 0, bytes: Vec::new(), streams: BTreeMap::new() }
    }

    /// The messages that are complete with these bytes, as they are.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.bytes.extend_from_slice(&bytes[skipped..]);
        let mut messages = Vec::new();
        while let Some((stream, data)) = self.frame() {
            let pending = self.streams.entry(stream).or_default();
            pending.extend(data);
            while let Some(message) = message(pending) {
                messages.push(message);
            }
        }
        messages
    }

    /// The next frame, when it is complete; of all but data frames only that they were there.
    fn frame(&mut self) -> Option<(u32, Vec<u8>)> {
        let head: [u8; FRAME_HEAD] = self.bytes.get(..FRAME_HEAD)?.try_into().unwrap();
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = head;
        let length = usize::try_from(u32::from_be_bytes([0, l2, l1, l0])).unwrap();
        let stream = u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]);
        if self.bytes.len() < FRAME_HEAD + length {
            return None;
        }
        let frame: Vec<u8> = self.bytes.drain(..FRAME_HEAD + length).skip(FRAME_HEAD).collect();
        assert!(kind != DATA || flags & PADDED == 0, "nobody pads here");
        Some((stream, if kind == DATA { frame } else { Vec::new() }))
    }
}

fn message(pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    let head: [u8; MESSAGE_HEAD] = pending.get(..MESSAGE_HEAD)?.try_into().unwrap();
    let [_flag, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
    if pending.len() < MESSAGE_HEAD + length {
        return None;
    }
    Some(pending.drain(..MESSAGE_HEAD + length).skip(MESSAGE_HEAD).collect())
}

/// What a worker says on its session.
pub fn from_worker(bytes: &[u8]) -> Option<pb::worker_message::Message> {
    pb::WorkerMessage::decode(bytes).ok()?.message
}

/// What the manager says on a session.
pub fn from_manager(bytes: &[u8]) -> Option<pb::manager_message::Message> {
    pb::ManagerMessage::decode(bytes).ok()?.message
}
