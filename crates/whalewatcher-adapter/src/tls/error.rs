//! Errors of TLS: which file or certificate is the reason, and what to do.

use std::error::Error;
use std::fmt::Display;
use std::path::Path;

use jiff::Timestamp;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};
use whalewatcher_core::{EngineError, ErrorKind, Printable};

use super::Files;
use crate::excerpt::{Excerpt, find_cause};

/// What errors call a server, and its options for TLS.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Such as "the engine".
    pub name: &'static str,
    /// The option with which it speaks TLS.
    pub tls_option: &'static str,
    /// The option that names the authorities of clients.
    pub ca_option: &'static str,
}

/// What is wrong with a certificate of X.509 version 1, as `openssl x509 -req` makes them without `-extfile`.
pub(crate) const VERSION_1: &str = "it is of X.509 version 1, which is not supported: create one of version 3, with \
     the extensions subjectAltName and extendedKeyUsage";

/// Describes an error that TLS caused.
pub(crate) fn explain(
    files: &Files,
    server: &Server,
    endpoint: &dyn Display,
    error: &(dyn Error + 'static),
) -> Option<EngineError> {
    let error: &rustls::Error = find_cause(error)?;
    let (kind, message) = match error {
        rustls::Error::InvalidCertificate(why) => {
            (ErrorKind::NotThisEngine, servers_certificate(files, endpoint, why))
        }
        rustls::Error::AlertReceived(alert) => alerted(files, server, endpoint, *alert),
        rustls::Error::InvalidMessage(_) => {
            let Server { name, tls_option, .. } = server;
            let advice = format!("check the port, and whether {name} was started with {tls_option}");
            (ErrorKind::NotThisEngine, format!("what answers at {endpoint} does not speak TLS: {advice}"))
        }
        other => (ErrorKind::NotThisEngine, disagreement(endpoint, &other.to_string())),
    };
    Some(EngineError::new(kind, message).with_source(error.clone()))
}

/// Whether a certificate is refused for being of X.509 version 1. rustls has no variant for that.
pub(crate) fn is_version_1(why: &CertificateError) -> bool {
    matches!(why, CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion"))
}

/// What is wrong with the certificate of the server.
fn servers_certificate(files: &Files, endpoint: &dyn Display, why: &CertificateError) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    let subject = format!("the certificate of {endpoint}");
    match why {
        UnknownIssuer => match &files.ca {
            Some(ca) => format!(
                "{subject} is signed by no authority in {}: add the certificate of its authority to that file",
                text(ca)
            ),
            None => format!(
                "{subject} is signed by no authority that the system trusts: name a file with the certificate of its \
                 authority (ca.pem)"
            ),
        },
        BadSignature => format!(
            "{subject} was signed with another key than that of the authority of the same name in {}: copy the \
             authority's certificate again",
            files.ca.as_deref().map_or_else(|| "the system's certificates".into(), text)
        ),
        ExpiredContext { not_after, .. } => {
            format!("{subject} has expired at {}: renew it{CLOCK}", time(*not_after))
        }
        Expired => format!("{subject} has expired: renew it{CLOCK}"),
        NotValidYetContext { not_before, .. } => {
            format!("{subject} is not valid before {}{CLOCK}", time(*not_before))
        }
        NotValidYet => format!("{subject} is not valid yet{CLOCK}"),
        NotValidForNameContext { expected, presented } => {
            let names = match &**presented {
                [] => "has no names".to_owned(),
                names => {
                    let names: Vec<_> = names.iter().map(|name| plain_name(name)).collect();
                    format!("is for {}", Excerpt(&names.join(", ")))
                }
            };
            format!(
                "{subject} {names}, not for {}: connect by a name of it, or add the name to its subjectAltName",
                Printable(&expected.to_str())
            )
        }
        why if is_version_1(why) => format!("{subject} cannot be used: {VERSION_1}"),
        why => format!("{subject} cannot be verified: {}", Excerpt(&why.to_string())),
    }
}

/// Returns the name in `DnsName("name")`, as rustls presents it.
fn plain_name(presented: &str) -> &str {
    presented.split('"').nth(1).unwrap_or(presented)
}

const CLOCK: &str = ", or set the clock of this host if it is wrong";

/// What the server complains about.
fn alerted(
    files: &Files,
    server: &Server,
    endpoint: &dyn Display,
    alert: AlertDescription,
) -> (ErrorKind, String) {
    let Server { name, ca_option, .. } = server;
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, DecryptError, HandshakeFailure, NoCertificate, UnknownCA, UnsupportedCertificate,
    };
    let message = match (alert, &files.certificate) {
        (CertificateRequired | NoCertificate | BadCertificate | HandshakeFailure, None) => {
            let place = match &files.folder {
                Some(folder) => format!("put cert.pem and key.pem into {}", text(folder)),
                None => "name the files of one and of its key (cert.pem, key.pem)".into(),
            };
            format!("{endpoint} requires a client certificate, and there is none: {place}")
        }
        (CertificateExpired, Some(file)) => {
            format!("{endpoint} refuses the client certificate {}: it has expired, renew it", text(file))
        }
        (
            AccessDenied
            | BadCertificate
            | CertificateRevoked
            | CertificateUnknown
            | DecryptError
            | UnknownCA
            | UnsupportedCertificate
            | CertificateRequired,
            Some(file),
        ) => format!(
            "{endpoint} refuses the client certificate {} ({alert:?}): it has to be signed by an authority that \
             {name} trusts (its {ca_option}), for client authentication",
            text(file)
        ),
        _ => return (ErrorKind::NotThisEngine, disagreement(endpoint, &format!("it reports {alert:?}"))),
    };
    (ErrorKind::PermissionDenied, message)
}

fn disagreement(endpoint: &dyn Display, why: &str) -> String {
    format!("cannot agree on TLS with {endpoint}: {}", Excerpt(why))
}

fn text(path: &Path) -> String {
    Printable(&path.to_string_lossy()).to_string()
}

fn time(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let timestamp = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| "an unknown time".into(), |timestamp| timestamp.to_string())
}
