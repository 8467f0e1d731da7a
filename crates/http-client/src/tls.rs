//! The client's side of TLS, by rustls and ring.
//!
//! # Invariants
//! - A configuration without `insecure_skip_verify` verifies the peer's chain and its name.
//! - The system's authorities are read once a process, and a machine without any can still speak plain HTTP.
//!
//! A client certificate is read again for each handshake, since such certificates are short-lived.

use std::sync::{Arc, OnceLock};

use config::{Secret, TlsSettings, TlsVersion};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use crate::{Error, read};

/// The TLS of a client, offering HTTP/2 if asked to.
pub(crate) fn client_config(settings: &TlsSettings, http2: bool) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings)?)
        .map_err(|error| Error::Tls(error.to_string()))?;
    let verifier = verifier(settings, &provider)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => {
            let identity = Identity { cert: cert.clone(), key: key.clone(), provider };
            // So that a mistake shows at once rather than with the first handshake.
            identity.load()?;
            builder.with_client_cert_resolver(Arc::new(identity))
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(config)
}

/// The versions between the lowest and the highest, of those that rustls has: 1.2 and 1.3.
fn versions(settings: &TlsSettings) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let min = settings.min_version.unwrap_or(TlsVersion::Tls12);
    let max = settings.max_version.unwrap_or(TlsVersion::Tls13);
    let known = [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)];
    let versions: Vec<_> = known.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, tls)| tls).collect();
    if versions.is_empty() {
        return Err(Error::Tls(
            "tls_config: no TLS version between min_version and max_version is supported; use TLS12 or TLS13".to_owned(),
        ));
    }
    Ok(versions)
}

fn verifier(settings: &TlsSettings, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if settings.insecure_skip_verify {
        return Ok(Arc::new(Unverified(Arc::clone(provider))));
    }
    let roots = match &settings.ca {
        Some(ca) => Some(Arc::new(authorities(ca)?)),
        None => None,
    };
    let name = match settings.server_name.as_str() {
        "" => None,
        name => {
            let invalid = |_| Error::Tls(format!("tls_config: invalid server_name {name:?}"));
            Some(ServerName::try_from(name.to_owned()).map_err(invalid)?)
        }
    };
    let inner = OnceLock::new();
    Ok(Arc::new(Verified { roots, name, provider: Arc::clone(provider), inner }))
}

fn authorities(ca: &Secret) -> Result<RootCertStore, Error> {
    let pem = read(ca, "CA cert")?;
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let cert = cert.map_err(|error| Error::Tls(format!("unable to load specified CA cert: {error}")))?;
        roots.add(cert).map_err(|error| Error::Tls(format!("unable to load specified CA cert: {error}")))?;
    }
    if roots.is_empty() {
        return Err(Error::Tls("unable to use specified CA cert: it holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// The authorities of the system, read by the first handshake that needs them.
fn system_authorities() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        // Certificates that rustls cannot use are left out, as by Go.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(load))
}

/// Verifies the chain, and the name that the settings may give instead of the host's.
#[derive(Debug)]
struct Verified {
    /// `None` for the system's.
    roots: Option<Arc<RootCertStore>>,
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
    inner: OnceLock<Result<Arc<WebPkiServerVerifier>, String>>,
}

impl Verified {
    fn inner(&self) -> Result<&WebPkiServerVerifier, rustls::Error> {
        let made = self.inner.get_or_init(|| {
            let roots = self.roots.clone().unwrap_or_else(system_authorities);
            let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider));
            builder.build().map_err(|error| error.to_string())
        });
        match made {
            Ok(verifier) => Ok(verifier),
            Err(message) => Err(rustls::Error::General(message.clone())),
        }
    }
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        self.inner()?.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner()?.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner()?.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Accepts any certificate (`insecure_skip_verify`); the handshake's signatures still have to fit it.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The client's own certificate.
#[derive(Debug)]
struct Identity {
    cert: Secret,
    key: Secret,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    fn load(&self) -> Result<CertifiedKey, Error> {
        let unusable = |error: &dyn std::fmt::Display| Error::Tls(format!("unable to use specified client cert and key: {error}"));
        let pem = read(&self.cert, "client cert")?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.map_err(|error| unusable(&error))?;
        if chain.is_empty() {
            return Err(unusable(&"the cert holds no certificate"));
        }
        let pem = read(&self.key, "client key")?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| unusable(&error))?;
        CertifiedKey::from_der(chain, key, &self.provider).map_err(|error| unusable(&error))
    }
}

impl ResolvesClientCert for Identity {
    /// No certificate when the files are broken: the peer then says that it wants one.
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = self.load().ok()?;
        key.key.choose_scheme(schemes)?;
        Some(Arc::new(key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn versions_lie_between_the_bounds() {
        let count = |min_version, max_version| {
            versions(&TlsSettings { min_version, max_version, ..TlsSettings::default() }).map(|versions| versions.len())
        };
        assert_eq!(count(None, None).unwrap(), 2);
        assert_eq!(count(Some(TlsVersion::Tls10), None).unwrap(), 2);
        assert_eq!(count(Some(TlsVersion::Tls13), None).unwrap(), 1);
        assert_eq!(count(None, Some(TlsVersion::Tls12)).unwrap(), 1);
        assert!(count(None, Some(TlsVersion::Tls11)).is_err());
        assert!(count(Some(TlsVersion::Tls13), Some(TlsVersion::Tls12)).is_err());
    }

    #[track_caller]
    fn check(settings: TlsSettings, want: &str) {
        let message = client_config(&settings, true).unwrap_err().to_string();
        assert!(message.starts_with(want), "{message}");
    }

    #[test]
    fn what_cannot_be_used_is_said_at_once() {
        let inline = |text: &str| Some(Secret::Inline(text.to_owned()));
        let file = Some(Secret::File("/nonexistent/ca.pem".into()));
        check(TlsSettings { ca: file, ..TlsSettings::default() }, "unable to read CA cert file /nonexistent/ca.pem: ");
        check(TlsSettings { ca: inline("x"), ..TlsSettings::default() }, "unable to use specified CA cert: ");
        let name = "a b".to_owned();
        check(TlsSettings { server_name: name, ..TlsSettings::default() }, "tls_config: invalid server_name \"a b\"");
        let (cert, key) = (inline("x"), inline("y"));
        check(TlsSettings { cert, key, ..TlsSettings::default() }, "unable to use specified client cert and key: ");
    }

    #[test]
    fn an_unverified_peer_needs_no_authorities() {
        let settings = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
        let config = client_config(&settings, false).unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
    }
}
