//! `kind u8 | id u32 | length u32 | payload`: the least that a session can speak.

use bytes::{Buf, BufMut, BytesMut};
use byway_engine::layers::Broken;
use byway_engine::session::{Event, Frame, Limits, Protocol};

pub const LIMITS: Limits = Limits {
    window: 64 * 1024,
    credit: 64 * 1024,
    frame: 16 * 1024,
    streams: 64,
    backlog: 16,
};

/// One side; the client's ids are odd.
pub struct Plain {
    next: u32,
    limits: Limits,
}

impl Plain {
    pub fn client() -> Self {
        Self {
            next: 1,
            limits: LIMITS,
        }
    }

    pub fn server() -> Self {
        Self {
            next: 2,
            limits: LIMITS,
        }
    }
}

impl Protocol for Plain {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn next_id(&mut self) -> Option<u32> {
        let id = self.next;
        self.next = id.checked_add(2)?;
        Some(id)
    }

    fn may_open(&self, id: u32) -> bool {
        id % 2 != self.next % 2
    }

    fn say(&mut self, frame: Frame<'_>, out: &mut BytesMut) {
        let (kind, id, payload) = match frame {
            Frame::Open(id) => (0, id, &[][..]),
            Frame::Data(id, data) => (1, id, data),
            Frame::Credit(id, more) => {
                out.put_u8(2);
                out.put_u32(id);
                out.put_u32(4);
                out.put_u32(more);
                return;
            }
            Frame::End(id) => (3, id, &[][..]),
            Frame::Reset(id) => (4, id, &[][..]),
            Frame::Leaving => (5, 0, &[][..]),
        };
        out.put_u8(kind);
        out.put_u32(id);
        out.put_u32(payload.len() as u32);
        out.put_slice(payload);
    }

    fn hear(&mut self, input: &mut BytesMut, _: &mut BytesMut) -> Result<Option<Event>, Broken> {
        let Some(head) = input.get(..9) else {
            return Ok(None);
        };
        let size = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) as usize;
        if size > self.limits.frame {
            return Err(Broken("a frame that is too long"));
        }
        if input.len() < 9 + size {
            return Ok(None);
        }
        let (kind, id) = (input.get_u8(), input.get_u32());
        input.advance(4);
        let mut payload = input.split_to(size).freeze();
        Ok(Some(match kind {
            0 => Event::Opened(id),
            1 => Event::Data(id, payload),
            2 if size == 4 => Event::Credit(id, payload.get_u32()),
            3 => Event::Ended(id),
            4 => Event::Reset(id),
            5 => Event::Leaving,
            _ => return Err(Broken("a frame of no known kind")),
        }))
    }
}
