//! The binding: hands the engine to Python. Only this crate knows pyo3, and it holds no logic of its
//! own beyond resuming those who wait.

#![expect(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands arguments over by value"
)]

mod answers;
mod asyncio;
mod body;
mod bucket;
mod caller;
mod datagrams;
mod engine;
mod failure;
mod held;
mod layers;
mod listener;
mod messages;
mod ops;
mod relay;
mod sealed;
mod session;
mod sets;
mod slots;
mod stream;
mod task;
mod tun;
mod values;
mod wait;

use pyo3::prelude::*;

/// The extension module `byway._engine`; `byway.engine` is its typed face.
#[pymodule]
#[pyo3(name = "_engine")]
fn engine_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<task::Task>()?;
    module.add_class::<body::Meter>()?;
    module.add_class::<bucket::Bucket>()?;
    module.add_class::<listener::Listener>()?;
    module.add_class::<listener::Turnstile>()?;
    module.add_class::<relay::Relay>()?;
    module.add_class::<session::Session>()?;
    module.add_class::<sets::SetLists>()?;
    module.add_class::<answers::Answers>()?;
    module.add_class::<messages::Messages>()?;
    module.add_class::<datagrams::Datagrams>()?;
    module.add_class::<datagrams::PacketListener>()?;
    module.add_class::<datagrams::Ask>()?;
    module.add_class::<caller::Caller>()?;
    module.add_class::<layers::SaltFilter>()?;
    module.add_class::<layers::TlsClient>()?;
    module.add_class::<layers::TlsServer>()?;
    module.add_function(wrap_pyfunction!(layers::seal_piece, module)?)?;
    module.add_function(wrap_pyfunction!(layers::open_piece, module)?)?;
    module.add_function(wrap_pyfunction!(layers::open_packet, module)?)?;
    module.add_function(wrap_pyfunction!(layers::blake3, module)?)?;
    module.add_function(wrap_pyfunction!(layers::blake3_derive, module)?)?;
    module.add_function(wrap_pyfunction!(layers::aes_block, module)?)?;
    module.add_function(wrap_pyfunction!(sets::trie_lines, module)?)?;
    module.add_function(wrap_pyfunction!(sets::dat_names, module)?)?;
    module.add_function(wrap_pyfunction!(sets::dat_prefixes, module)?)?;
    module.add_function(wrap_pyfunction!(sets::dat_codes, module)?)?;
    module.add_function(wrap_pyfunction!(layers::hkdf_sha1, module)?)?;
    Ok(())
}
