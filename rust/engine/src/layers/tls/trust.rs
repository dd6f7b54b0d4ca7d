//! Which certificates are taken for the server's.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::Wrong;

/// Looks at the certificate alone, not at who signed it; that its owner has the key is always checked.
#[derive(Debug)]
pub struct Trust {
    /// None trusts any.
    pins: Option<Vec<[u8; 32]>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// Certificates or public keys with these SHA-256 sums.
    pub fn pinned(pins: Vec<[u8; 32]>, provider: &CryptoProvider) -> Arc<Self> {
        Arc::new(Self {
            pins: Some(pins),
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// Whatever is shown.
    pub fn any(provider: &CryptoProvider) -> Arc<Self> {
        Arc::new(Self {
            pins: None,
            algorithms: provider.signature_verification_algorithms,
        })
    }

    fn trusts(&self, certificate: &CertificateDer<'_>) -> bool {
        let Some(pins) = &self.pins else { return true };
        let has = |der: &[u8]| pins.iter().any(|pin| pin == digest(&SHA256, der).as_ref());
        let key = || {
            ParsedCertificate::try_from(certificate).map(|parsed| parsed.subject_public_key_info())
        };
        has(certificate) || key().is_ok_and(|key| has(&key))
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trusts(certificate) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The CAs that this system trusts, read once.
pub fn system_roots() -> Result<Arc<RootCertStore>, Wrong> {
    static ROOTS: Mutex<Option<Arc<RootCertStore>>> = Mutex::new(None);
    let mut kept = ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(roots) = &*kept {
        return Ok(Arc::clone(roots));
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        return Err(
            "this system has no CA certificates; install them or name a CA file".to_owned(),
        );
    }
    Ok(Arc::clone(kept.insert(Arc::new(store))))
}

/// Whether the certificate is for this name.
pub fn has_name(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}
