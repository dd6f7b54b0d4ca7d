//! What every session has to do, held against a protocol that has nothing but frames.

mod meeting;
mod plain;
mod suite;
