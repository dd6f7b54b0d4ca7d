//! TLS 1.2 and 1.3: rustls shakes hands, and its keys then work in our own record framing.
//!
//! rustls hands keys over to kernels this way (`rustls::kernel`); taking them here instead spares two
//! copies and an allocation per record. What stays with rustls: every handshake message, certificates,
//! tickets, and the derivation of new keys.
//!
//! `Client` and `Server` are made once per outbound or inbound and shared; `connect` and `accept` take
//! a stream and give back one. They have no time limit; dropping the future closes the stream.

mod greeting;
mod handshake;
mod provider;
mod records;
mod trust;

use std::cell::Cell;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

pub use handshake::{accept, connect};
pub use records::Records;

use trust::Trust;

/// What a handshake has settled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// "1.2" or "1.3".
    pub version: &'static str,
    /// The application protocol that both want.
    pub alpn: Option<String>,
    /// The name that the client asked for.
    pub name: Option<String>,
    /// The cipher suite, by its name in the registry.
    pub cipher: String,
    /// Whether an earlier session was taken up.
    pub resumed: bool,
}

/// What is wrong with options, in words for their writer.
pub type Wrong = String;

/// Which certificates a client trusts.
pub enum Trusted {
    /// Those of the system.
    System,
    /// Those that these CAs (PEM) have signed.
    Signed(Vec<u8>),
    /// Those with one of these SHA-256 sums, of the certificate or of its public key.
    Pinned(Vec<[u8; 32]>),
    /// Any.
    Any,
}

/// How a client is made.
pub struct ClientOptions {
    /// The name to ask for and to be shown.
    pub name: String,
    /// Whether to say the name.
    pub sni: bool,
    /// Application protocols, the best first.
    pub alpn: Vec<String>,
    /// "1.2", "1.3".
    pub versions: Vec<String>,
    /// Whom to trust.
    pub trusted: Trusted,
    /// Our own chain and key (PEM).
    pub own: Option<(Vec<u8>, Vec<u8>)>,
    /// Sessions to remember.
    pub resume: usize,
}

/// One outbound's side of TLS.
pub struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Client {
    /// Fails when a name, a PEM text or a list of versions is wrong.
    pub fn new(options: &ClientOptions) -> Result<Self, Wrong> {
        let name = ServerName::try_from(options.name.clone())
            .map_err(|_| format!("{:?} is neither a host name nor an address", options.name))?;
        let provider = provider::provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(&options.versions)?)
            .map_err(|error| error.to_string())?;
        let builder = match &options.trusted {
            Trusted::System => builder.with_root_certificates(trust::system_roots()?),
            Trusted::Signed(pem) => builder.with_root_certificates(roots(pem)?),
            Trusted::Pinned(pins) => builder
                .dangerous()
                .with_custom_certificate_verifier(Trust::pinned(pins.clone(), &provider)),
            Trusted::Any => builder
                .dangerous()
                .with_custom_certificate_verifier(Trust::any(&provider)),
        };
        let mut config = match &options.own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain_of(chain)?, key_of(key)?)
                .map_err(|error| error.to_string())?,
        };
        config.alpn_protocols = options
            .alpn
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect();
        config.enable_sni = options.sni;
        config.enable_secret_extraction = true;
        config.resumption = match options.resume {
            0 => Resumption::disabled(),
            sessions => Resumption::store(Arc::new(ClientSessionMemoryCache::new(sessions))),
        };
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }
}

/// How a server is made.
pub struct ServerOptions {
    /// Chains and keys (PEM).
    pub certificates: Vec<(Vec<u8>, Vec<u8>)>,
    /// Application protocols, the best first.
    pub alpn: Vec<String>,
    /// "1.2", "1.3".
    pub versions: Vec<String>,
    /// CAs (PEM) one of which must have signed a client's certificate.
    pub clients: Option<Vec<u8>>,
    /// Whether to give out tickets.
    pub resume: bool,
}

/// One inbound's side of TLS. It can be told new certificates while it works.
pub struct Server {
    config: RwLock<Arc<ServerConfig>>,
    ticketer: Arc<dyn ProducesTickets>,
}

impl Server {
    /// Fails when a PEM text, a key or a list of versions is wrong.
    pub fn new(options: &ServerOptions) -> Result<Self, Wrong> {
        let ticketer =
            rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
        let config = server_config(options, &ticketer)?;
        Ok(Self {
            config: RwLock::new(Arc::new(config)),
            ticketer,
        })
    }

    /// Use these from now on. Connections that are open keep what they have; tickets stay valid.
    pub fn reload(&self, options: &ServerOptions) -> Result<(), Wrong> {
        let config = Arc::new(server_config(options, &self.ticketer)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn server_config(
    options: &ServerOptions,
    ticketer: &Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, Wrong> {
    let provider = provider::provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(&options.versions)?)
        .map_err(|error| error.to_string())?;
    let verifier: Option<Arc<dyn ClientCertVerifier>> = match &options.clients {
        None => None,
        Some(pem) => Some(
            WebPkiClientVerifier::builder_with_provider(roots(pem)?, Arc::clone(&provider))
                .build()
                .map_err(|error| error.to_string())?,
        ),
    };
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut keys = Vec::with_capacity(options.certificates.len());
    for (chain, key) in &options.certificates {
        let key = CertifiedKey::from_der(chain_of(chain)?, key_of(key)?, &provider);
        keys.push(Arc::new(key.map_err(|error| error.to_string())?));
    }
    if keys.is_empty() {
        return Err("a server needs a certificate".to_owned());
    }
    let alpn: Vec<Vec<u8>> = options
        .alpn
        .iter()
        .map(|name| name.clone().into_bytes())
        .collect();
    let wardrobe = Wardrobe {
        keys,
        alpn: alpn.clone(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(wardrobe));
    config.alpn_protocols = alpn;
    config.enable_secret_extraction = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if options.resume {
        config.ticketer = Arc::clone(ticketer);
    } else {
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// The certificates of a server: the first that has the name asked for, else the first. None for who
/// asks for other application protocols than the server's: rustls would refuse only later, when it has
/// begun to answer, and web servers say no at once.
#[derive(Debug)]
struct Wardrobe {
    keys: Vec<Arc<CertifiedKey>>,
    alpn: Vec<Vec<u8>>,
}

impl ResolvesServerCert for Wardrobe {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED.set(hello.server_name().map(str::to_owned));
        let fits = |key: &&Arc<CertifiedKey>| {
            let name = hello
                .server_name()
                .and_then(|name| ServerName::try_from(name).ok());
            name.is_some_and(|name| trust::has_name(key, &name))
        };
        let spoken = |name: &[u8]| self.alpn.iter().any(|own| own == name);
        let agreed = hello
            .alpn()
            .is_none_or(|mut names| self.alpn.is_empty() || names.any(spoken));
        let several = self.keys.len() > 1;
        several
            .then(|| self.keys.iter().find(fits))
            .flatten()
            .or(self.keys.first())
            .filter(|_| agreed)
            .cloned()
    }
}

thread_local! {
    /// The name in the hello that this thread has looked at last: rustls tells it to nobody else here.
    static ASKED: Cell<Option<String>> = const { Cell::new(None) };
}

fn asked_name() -> Option<String> {
    ASKED.take()
}

fn versions(names: &[String]) -> Result<Vec<&'static SupportedProtocolVersion>, Wrong> {
    let version = |name: &String| match name.as_str() {
        "1.2" => Ok(&version::TLS12),
        "1.3" => Ok(&version::TLS13),
        other => Err(format!("TLS {other} is not spoken, only 1.2 and 1.3")),
    };
    let versions = names.iter().map(version).collect::<Result<Vec<_>, _>>()?;
    if versions.is_empty() {
        Err("no version of TLS is allowed".to_owned())
    } else {
        Ok(versions)
    }
}

fn chain_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err("there is no certificate in the PEM text".to_owned()),
        Err(error) => Err(format!("the PEM text of a certificate is damaged: {error}")),
    }
}

fn key_of(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Wrong> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| "there is no private key in the PEM text".to_owned())
}

fn roots(pem: &[u8]) -> Result<Arc<RootCertStore>, Wrong> {
    let mut store = RootCertStore::empty();
    for certificate in chain_of(pem)? {
        store.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(store))
}
