//! Layers in Python's hands: ciphers to open a request's head with, and what TLS needs to be told.

use std::sync::{Arc, Mutex, PoisonError};

use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit, generic_array::GenericArray};
use byway_engine::layers::chunks::{self, Chunks, Clock, Opening, Sealing};
use byway_engine::layers::cipher::{Counting, Key, NONCE, Suite, TAG};
use byway_engine::layers::framed::Framed;
use byway_engine::layers::replay::SaltFilter as CoreFilter;
use byway_engine::layers::tls::{Client, ClientOptions, Server, ServerOptions, Trusted};
use byway_engine::stream::Stream as Core;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// (key, prefix, lead)
type SealingArgs = (Vec<u8>, Vec<u8>, Vec<u8>);

/// (key, count) or (master, request)
#[derive(FromPyObject)]
pub enum OpeningArgs {
    Known(Vec<u8>, u64),
    Awaited(Vec<u8>, Option<Vec<u8>>),
}

/// (cipher, sealing, opening, limit)
pub type ChunkedArgs = (String, SealingArgs, OpeningArgs, usize);

/// (name, sni, alpn, versions, ca, pins, insecure, certificate, key, resume)
type TlsClientArgs = (
    String,
    bool,
    Vec<String>,
    Vec<String>,
    Vec<u8>,
    Vec<[u8; 32]>,
    bool,
    Vec<u8>,
    Vec<u8>,
    usize,
);

/// (certificates, alpn, versions, clients, resume)
type TlsServerArgs = (
    Vec<(Vec<u8>, Vec<u8>)>,
    Vec<String>,
    Vec<String>,
    Vec<u8>,
    bool,
);

fn suite_of(cipher: &str) -> PyResult<Suite> {
    Suite::named(cipher).ok_or_else(|| PyValueError::new_err(format!("no cipher {cipher:?}")))
}

fn counting(cipher: &str, key: &[u8], count: u64) -> PyResult<Counting> {
    let key = Key::new(suite_of(cipher)?, key);
    key.map(|key| Counting::new(key, count))
        .ok_or_else(|| PyValueError::new_err("a key of the wrong length"))
}

/// Seal one piece.
#[pyfunction]
pub fn seal_piece<'py>(
    py: Python<'py>,
    cipher: &str,
    key: &[u8],
    count: u64,
    plain: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let mut cipher = counting(cipher, key, count)?;
    PyBytes::new_with(py, plain.len() + TAG, |out| {
        cipher
            .seal(plain, out)
            .map_err(|_| PyValueError::new_err("too long to be sealed"))
    })
}

/// Open one piece.
#[pyfunction]
pub fn open_piece<'py>(
    py: Python<'py>,
    cipher: &str,
    key: &[u8],
    count: u64,
    sealed: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let mut cipher = counting(cipher, key, count)?;
    PyBytes::new_with(py, sealed.len().saturating_sub(TAG), |out| {
        cipher
            .open(sealed, out)
            .map_err(|_| PyValueError::new_err("not authentic"))
    })
}

/// Open one packet under a nonce of its own.
#[pyfunction]
pub fn open_packet<'py>(
    py: Python<'py>,
    cipher: &str,
    key: &[u8],
    nonce: [u8; NONCE],
    aad: &[u8],
    sealed: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let key = Key::new(suite_of(cipher)?, key)
        .ok_or_else(|| PyValueError::new_err("a key of the wrong length"))?;
    PyBytes::new_with(py, sealed.len().saturating_sub(TAG), |out| {
        key.open(nonce, aad, sealed, out)
            .map_err(|_| PyValueError::new_err("not authentic"))
    })
}

/// Put sealed chunks over a stream.
pub fn chunked(stream: Core, args: ChunkedArgs) -> PyResult<Core> {
    let (cipher, (key, prefix, lead), opening, limit) = args;
    let opening = match opening {
        OpeningArgs::Known(key, count) => Opening::Known(key, count),
        OpeningArgs::Awaited(master, request) => Opening::Awaited(master, request),
    };
    let sealing = Sealing { key, prefix, lead };
    let framing = Chunks::new(suite_of(&cipher)?, sealing, opening, limit, Clock::system());
    let framing = framing
        .ok_or_else(|| PyValueError::new_err("a key, prefix or lead of the wrong length"))?;
    Ok(Framed::over(stream, framing))
}

/// Salts that were seen.
#[pyclass(frozen, module = "byway._engine")]
pub struct SaltFilter(Mutex<CoreFilter>);

#[pymethods]
impl SaltFilter {
    #[new]
    #[pyo3(signature = (capacity=131_072, window=None))]
    fn new(capacity: usize, window: Option<f64>) -> Self {
        Self(Mutex::new(CoreFilter::new(capacity, window)))
    }

    fn fresh(&self, salt: &[u8], now: f64) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fresh(salt, now)
    }

    fn __len__(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// BLAKE3 of `data`.
#[pyfunction]
#[pyo3(signature = (data, length=32))]
pub fn blake3<'py>(py: Python<'py>, data: &[u8], length: usize) -> PyResult<Bound<'py, PyBytes>> {
    let mut hash = ::blake3::Hasher::new().update(data).finalize_xof();
    PyBytes::new_with(py, length, |out| {
        hash.fill(out);
        Ok(())
    })
}

/// BLAKE3 in its key derivation mode.
#[pyfunction]
pub fn blake3_derive<'py>(
    py: Python<'py>,
    context: &str,
    material: &[u8],
    length: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut hash = ::blake3::Hasher::new_derive_key(context)
        .update(material)
        .finalize_xof();
    PyBytes::new_with(py, length, |out| {
        hash.fill(out);
        Ok(())
    })
}

/// HKDF with SHA-1 (RFC 5869).
#[pyfunction]
pub fn hkdf_sha1<'py>(
    py: Python<'py>,
    master: &[u8],
    salt: &[u8],
    info: &[u8],
    length: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, length, |out| {
        chunks::hkdf_sha1(master, salt, info, out)
            .ok_or_else(|| PyValueError::new_err("too long for this hash"))
    })
}

/// One block of AES.
#[pyfunction]
#[pyo3(signature = (key, block, *, decrypt=false))]
pub fn aes_block<'py>(
    py: Python<'py>,
    key: &[u8],
    block: [u8; 16],
    decrypt: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    fn run<C: BlockEncrypt + BlockDecrypt + KeyInit>(
        key: &[u8],
        block: [u8; 16],
        decrypt: bool,
    ) -> Option<[u8; 16]> {
        let cipher = C::new_from_slice(key).ok()?;
        let mut cell = GenericArray::from(block);
        // Both have 16 bytes; the types do not know it.
        let cell = GenericArray::from_mut_slice(cell.as_mut_slice());
        if decrypt {
            cipher.decrypt_block(cell);
        } else {
            cipher.encrypt_block(cell);
        }
        let mut block = block;
        block.copy_from_slice(cell);
        Some(block)
    }
    let done = match key.len() {
        16 => run::<aes::Aes128>(key, block, decrypt),
        _ => run::<aes::Aes256>(key, block, decrypt),
    };
    let done = done.ok_or_else(|| PyValueError::new_err("an AES key here has 16 or 32 bytes"))?;
    Ok(PyBytes::new(py, &done))
}

/// One outbound's side of TLS.
#[pyclass(frozen, module = "byway._engine")]
pub struct TlsClient(pub Arc<Client>);

#[pymethods]
impl TlsClient {
    #[new]
    fn new(options: TlsClientArgs) -> PyResult<Self> {
        let (name, sni, alpn, versions, ca, pins, insecure, certificate, key, resume) = options;
        let trusted = match (insecure, pins.is_empty(), ca.is_empty()) {
            (true, ..) => Trusted::Any,
            (_, false, _) => Trusted::Pinned(pins),
            (_, _, false) => Trusted::Signed(ca),
            _ => Trusted::System,
        };
        let own = (!certificate.is_empty()).then_some((certificate, key));
        let options = ClientOptions {
            name,
            sni,
            alpn,
            versions,
            trusted,
            own,
            resume,
        };
        Client::new(&options)
            .map(|client| Self(Arc::new(client)))
            .map_err(PyValueError::new_err)
    }
}

/// One inbound's side of TLS.
#[pyclass(frozen, module = "byway._engine")]
pub struct TlsServer(pub Arc<Server>);

fn server_options((certificates, alpn, versions, clients, resume): TlsServerArgs) -> ServerOptions {
    let clients = (!clients.is_empty()).then_some(clients);
    ServerOptions {
        certificates,
        alpn,
        versions,
        clients,
        resume,
    }
}

#[pymethods]
impl TlsServer {
    #[new]
    fn new(options: TlsServerArgs) -> PyResult<Self> {
        let server = Server::new(&server_options(options));
        server
            .map(|server| Self(Arc::new(server)))
            .map_err(PyValueError::new_err)
    }

    fn reload(&self, options: TlsServerArgs) -> PyResult<()> {
        self.0
            .reload(&server_options(options))
            .map_err(PyValueError::new_err)
    }
}
