//! Stations on a way out, and what packets are wrapped in for each.

use std::ops::Range;
use std::sync::Arc;

use super::address::{Place, Scratch, Spot};
use super::tally::Bad;

/// How packets are made for a station, and read from it.
pub trait Hop: Send + Sync {
    /// Append the form in which it is told where a packet goes next.
    fn put_head(&self, next: Spot<'_>, into: &mut Vec<u8>);

    /// Whether packets for it are sealed; of others the head, put before them, is all.
    fn seals(&self) -> bool {
        false
    }

    /// Append a packet: the head, and behind it what `rest` appends. False when it cannot be made.
    /// `port` and `payload` (bytes) are of what is carried, for padding.
    fn wrap(
        &self,
        head: &[u8],
        _of: (u16, usize),
        arena: &mut Vec<u8>,
        rest: &mut dyn FnMut(&mut Vec<u8>) -> bool,
    ) -> bool {
        arena.extend_from_slice(head);
        rest(arena)
    }

    /// Open what is left of a packet in place: its sender, and where that one's packet is.
    fn open<'a>(
        &self,
        left: &mut [u8],
        scratch: &'a mut Scratch,
    ) -> Result<(Spot<'a>, Range<usize>), Bad>;
}

/// A hop, and where it is.
#[derive(Clone)]
pub struct Station {
    pub place: Place,
    pub hop: Arc<dyn Hop>,
}

/// What goes around each payload of a flow.
pub enum Envelope {
    /// These bytes before it.
    Plain(Box<[u8]>),
    /// Layers, the outermost first.
    Sealed(Box<[Fold]>),
}

impl Default for Envelope {
    fn default() -> Self {
        Self::Plain(Box::default())
    }
}

impl Envelope {
    /// For packets by way of these stations to `target`.
    pub fn new(stations: &[Station], target: &Place) -> Self {
        let next = stations.iter().skip(1).map(|station| &station.place);
        let folds = stations.iter().zip(next.chain([target]));
        let folds = folds.map(|(station, next)| Fold::new(station, next.spot()));
        if stations.iter().any(|station| station.hop.seals()) {
            Self::Sealed(folds.collect())
        } else {
            Self::Plain(folds.flat_map(|fold| fold.head).collect())
        }
    }
}

/// One layer of an envelope: the next station's address, sealed with all behind it or not.
pub struct Fold {
    hop: Arc<dyn Hop>,
    head: Box<[u8]>,
    port: u16,
}

impl Fold {
    fn new(station: &Station, next: Spot<'_>) -> Self {
        let mut head = Vec::new();
        station.hop.put_head(next, &mut head);
        Self {
            hop: Arc::clone(&station.hop),
            head: head.into_boxed_slice(),
            port: next.port(),
        }
    }
}

/// Append the packet that these layers make of a payload. False when it cannot be sealed.
pub fn wrap(folds: &[Fold], payload: &[u8], arena: &mut Vec<u8>) -> bool {
    let Some((fold, rest)) = folds.split_first() else {
        arena.extend_from_slice(payload);
        return true;
    };
    let of = (fold.port, payload.len());
    let mut inner = |arena: &mut Vec<u8>| wrap(rest, payload, arena);
    fold.hop.wrap(&fold.head, of, arena, &mut inner)
}
