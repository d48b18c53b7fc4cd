//! Chromium, driven through its debugging pipe.

use std::env;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// A time limit that is only reached if something hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Names the program, which `cargo xtask test` gets.
const VARIABLE: &str = "WHALEWATCHER_CHROMIUM";

const OPTIONS: [&str; 10] = [
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
];

/// A browser with one page.
pub(crate) struct Browser {
    _child: Child,
    _profile: tempfile::TempDir,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: Option<String>,
    sent: u64,
    /// What went wrong in the page: exceptions, violations of its policy, dialogs.
    pub(crate) errors: Vec<Value>,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let program = env::var_os(VARIABLE).unwrap_or_else(|| panic!("{VARIABLE} names no Chromium"));
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // Chromium reads requests from descriptor 3 and writes answers to 4.
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 1>&2 2>/dev/null", "sh"]).arg(program).args(OPTIONS);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (requests, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let answers = BufReader::new(answers);
        let mut browser = Self {
            _child: child,
            _profile: profile,
            requests,
            answers,
            session: None,
            sent: 0,
            errors: Vec::new(),
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let parameters = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", parameters).await;
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// Calls a method of the protocol: <https://chromedevtools.github.io/devtools-protocol/>.
    pub(crate) async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut request = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = session.clone().into();
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).await.unwrap();
        loop {
            let mut message = Vec::new();
            let read = self.answers.read_until(b'\0', &mut message);
            timeout(LIMIT, read).await.unwrap_or_else(|_| panic!("no answer to {request}")).unwrap();
            assert_eq!(message.pop(), Some(b'\0'), "Chromium has ended: {request}");
            let message: Value = serde_json::from_slice(&message).unwrap();
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{request}: {message}");
                return message["result"].clone();
            }
            let what = message["method"].as_str().unwrap_or_default();
            if what == "Runtime.exceptionThrown"
                || what == "Page.javascriptDialogOpening"
                || (what == "Log.entryAdded" && message["params"]["entry"]["level"] == "error")
            {
                self.errors.push(message);
            }
        }
    }

    pub(crate) async fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
    }

    /// Waits until an expression is true in the page, looking with each frame.
    pub(crate) async fn until(&mut self, expression: &str) {
        let look = format!(
            "new Promise((found) => {{
                const look = () => (({expression}) ? found(true) : requestAnimationFrame(look));
                look();
            }})"
        );
        let parameters = json!({ "expression": look, "awaitPromise": true });
        let awaited = timeout(LIMIT, self.call("Runtime.evaluate", parameters)).await;
        let Ok(answer) = awaited else {
            panic!("the page never comes to: {expression}\n{:?}", self.errors);
        };
        assert_eq!(answer["result"]["value"], true, "{expression}: {answer}");
    }

    /// Returns the value of an expression in the page.
    pub(crate) async fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", parameters).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Presses a key that types nothing.
    pub(crate) async fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", json!({ "type": kind, "key": key })).await;
        }
    }

    /// Types into what has the focus.
    pub(crate) async fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }
}
