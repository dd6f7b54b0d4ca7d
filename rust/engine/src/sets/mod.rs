//! Large sets of names and prefixes: read from text, kept in one piece of memory each, saved to and
//! loaded from a cache file. What the reader does not understand at a glance is handed back by line.

mod cache;
pub mod dat;
mod names;
mod prefixes;
mod text;
pub mod trie;

pub use cache::Stamp;
pub use names::{Found, NameBuilder, NameSet};
pub use prefixes::{Prefix, PrefixSet};
pub use text::Form;

/// One list: its names, its prefixes (for names too, or for literal addresses alone), and the lines
/// that somebody who knows more has to read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// The names.
    pub names: NameSet,
    /// The prefixes.
    pub addresses: PrefixSet,
    /// The prefixes for targets that are addresses already.
    pub literal: PrefixSet,
    /// The other lines, with their numbers.
    pub rest: Vec<(u32, String)>,
}

impl Lists {
    /// Read a text in a form. Never fails; bytes that are not UTF-8 end up in `rest`, replaced.
    pub fn read(data: &[u8], form: Form) -> Self {
        text::read(data, form)
    }
}
