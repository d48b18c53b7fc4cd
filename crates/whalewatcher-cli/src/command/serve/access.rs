//! Which requests over TCP are answered: those for a host that this is, with a token if there is one.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::routes::Refusal;

/// What is answered without a token, because it says nothing of containers: a browser cannot send one for a page.
const OPEN: [&str; 2] = ["/", "/healthz"];
const OPEN_FOLDER: &str = "/page/";

/// The shortest token.
const SHORTEST: usize = 16;

/// Answers are for no other site, and are what they are called.
const HEADERS: [(HeaderName, &str); 2] = [
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The tokens, of which a request has one.
#[derive(Clone)]
pub(super) struct Tokens(Arc<[Box<[u8]>]>);

/// Which requests are answered.
#[derive(Clone)]
pub(super) struct Access {
    /// `None` if clients are known by their certificates.
    pub(super) tokens: Option<Tokens>,
    /// The names by which clients may call this host, besides addresses and `localhost`.
    pub(super) names: Arc<[String]>,
}

impl Tokens {
    /// Reads a file with a token on each line, and returns whether every user of this host can read it.
    ///
    /// # Errors
    ///
    /// If it cannot be read, has no token, or one that is short or cannot be sent.
    pub(super) fn read(path: &Path) -> anyhow::Result<(Self, bool)> {
        let failed = || format!("--token-file {}", path.display());
        let text = fs::read_to_string(path).with_context(failed)?;
        let tokens: Vec<_> = text.lines().map(str::trim_ascii).filter(|line| !line.is_empty()).collect();
        if tokens.is_empty() {
            bail!("{}: there is no token; 'openssl rand -hex 32' prints one", failed());
        }
        // The reason does not quote it.
        if tokens
            .iter()
            .any(|token| token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            bail!(
                "{}: a token has at least {SHORTEST} characters, without blanks; 'openssl rand -hex 32' prints one",
                failed()
            );
        }
        let is_public = fs::metadata(path).with_context(failed)?.permissions().mode() & 0o004 != 0;
        Ok((Self(tokens.into_iter().map(|token| token.as_bytes().into()).collect()), is_public))
    }

    /// Whether a request has a token. How long that takes depends on lengths only.
    fn has(&self, headers: &HeaderMap) -> bool {
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        let (Some(sent), None) = (sent.next(), sent.next()) else { return false };
        let Some((scheme, token)) = sent.as_bytes().split_at_checked(7) else { return false };
        let token = token.trim_ascii();
        scheme.eq_ignore_ascii_case(b"bearer ")
            && self.0.iter().fold(false, |found, one| found | bool::from(one.ct_eq(token)))
    }
}

impl Access {
    /// Has an application answer these requests only.
    pub(super) fn limit(&self, app: Router) -> Router {
        app.layer(from_fn_with_state(self.clone(), limit))
    }

    /// Checks that a request is for this host. A page of another site could have its name lead here, and
    /// would then read answers (DNS rebinding); an address does not change.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let bad = |reason: &str| Err(Refusal(StatusCode::BAD_REQUEST, reason.to_owned()));
        let mut sent = headers.get_all(HOST).iter();
        let (Some(host), None) = (sent.next(), sent.next()) else { return bad("a request has one Host") };
        let Ok(host) = Authority::try_from(host.as_bytes()) else { return bad("this Host is no name") };
        if [Some(&host), uri.authority()].into_iter().flatten().all(|one| self.is_known(one)) {
            return Ok(());
        }
        let reason = "this server is not known by that name: --allow-host allows it".to_owned();
        Err(Refusal(StatusCode::MISDIRECTED_REQUEST, reason))
    }

    fn is_known(&self, authority: &Authority) -> bool {
        let host = authority.host();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_named = |known: &str| known.eq_ignore_ascii_case(name);
        !authority.as_str().contains('@')
            && (address.parse::<IpAddr>().is_ok()
                || is_named("localhost")
                || self.names.iter().any(|known| is_named(known)))
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        self.check_host(request.uri(), request.headers())?;
        let path = request.uri().path();
        let needs_token = !OPEN.contains(&path) && !path.starts_with(OPEN_FOLDER);
        match &self.tokens {
            Some(tokens) if needs_token && !tokens.has(request.headers()) => {
                let reason = "a token is needed: Authorization: Bearer TOKEN".to_owned();
                Err(Refusal(StatusCode::UNAUTHORIZED, reason))
            }
            _ => Ok(()),
        }
    }
}

async fn limit(State(access): State<Access>, request: Request, next: Next) -> Response {
    let answer = match access.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refused) if refused.0 == StatusCode::UNAUTHORIZED => {
            ([(WWW_AUTHENTICATE, "Bearer realm=\"whalewatcher\"")], refused).into_response()
        }
        Err(refused) => refused.into_response(),
    };
    (HEADERS, answer).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    async fn status(request: axum::http::request::Builder) -> u16 {
        let app = Router::new().route("/", get(async || "")).route("/v1", get(async || ""));
        let tokens = Tokens([TOKEN, "fedcba9876543210"].map(|one| one.as_bytes().into()).into());
        let access = Access { tokens: Some(tokens), names: ["Whale.example".to_owned()].into() };
        let app = TowerToHyperService::new(access.limit(app));
        let answer = app.call(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        answer.status().as_u16()
    }

    #[tokio::test]
    async fn a_request_is_for_an_address_or_a_name_that_is_allowed() {
        let of = async |hosts: &[&str], uri: &str| {
            status(hosts.iter().fold(Request::get(uri), |request, host| request.header("host", *host))).await
        };
        for host in [
            "127.0.0.1",
            "10.0.0.7:9080",
            "[::1]",
            "[::1]:9080",
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "whale.example",
            "WHALE.example.:9080",
        ] {
            assert_eq!(of(&[host], "/").await, 200, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "x@localhost",
            "127.0.0.1.evil.example",
            "whale.example.x",
        ] {
            assert_eq!(of(&[host], "/").await, 421, "{host}");
        }
        for hosts in [&[][..], &[""], &["a b"], &["localhost", "localhost"]] {
            assert_eq!(of(hosts, "/").await, 400, "{hosts:?}");
        }
        assert_eq!(of(&["localhost"], "http://evil.example/").await, 421);
        assert_eq!(of(&["localhost"], "http://127.0.0.1/").await, 200);
    }

    #[tokio::test]
    async fn a_request_has_one_of_the_tokens_unless_it_is_for_the_page() {
        let of = async |path: &str, sent: &[&str]| {
            let request = Request::get(path).header("host", "localhost");
            status(sent.iter().fold(request, |request, one| request.header("authorization", *one))).await
        };
        let right = format!("Bearer {TOKEN}");
        for sent in [&*right, &right.to_lowercase(), "BEARER  fedcba9876543210 "] {
            assert_eq!(of("/v1", &[sent]).await, 200, "{sent}");
        }
        let longer = format!("{right}0");
        for sent in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &[TOKEN],
            &[&right[..22]],
            &[&longer],
            &["Basic 0123456789abcdef"],
            &["Bearer 0123456789abcdeF"],
            &["Bearer 0123456789abcdef fedcba9876543210"],
            &[&right, &right],
        ] {
            assert_eq!(of("/v1", sent).await, 401, "{sent:?}");
        }
        assert_eq!((of("/", &[]).await, of("//", &[]).await, of("/nothing", &[]).await), (200, 401, 401));
    }

    #[test]
    fn a_file_has_tokens_that_cannot_be_guessed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let of = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Tokens::read(&path).map_err(|error| format!("{error:#}"))
        };
        for (text, count) in [(TOKEN.to_owned(), 1), (format!("\n{TOKEN}\r\n{TOKEN}0\n"), 2)] {
            let (tokens, is_public) = of(&text, 0o640).unwrap();
            assert_eq!((tokens.0.len(), is_public), (count, false));
        }
        assert!(of(TOKEN, 0o644).unwrap().1);
        for (text, reason) in [
            ("", "there is no token"),
            (" \n\n", "there is no token"),
            ("short", "at least 16 characters"),
            ("0123456789 abcdef", "without blanks"),
            ("0123456789abcdef\nshort", "at least 16 characters"),
            ("0123456789abcdefü", "without blanks"),
        ] {
            let error = of(text, 0o600).err().unwrap();
            assert!(error.contains(reason) && !error.contains("0123"), "{text:?}: {error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(Tokens::read(&path).is_err());
    }
}
