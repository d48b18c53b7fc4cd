//! What tests do with any server: where it is, its calls and answers, its faults.

/// Implements that for `Server`, which has `shared` and `listening`, with the module's `Call`, `Method`,
/// `Stats` and `Error`.
macro_rules! driven {
    () => {
        /// Where it is.
        impl Server {
            /// Returns its endpoint, in the form `unix:///…`.
            pub fn endpoint(&self) -> String {
                format!("unix://{}", self.listening.socket().display())
            }

            /// Returns the path of its socket.
            pub fn socket(&self) -> std::path::PathBuf {
                self.listening.socket().to_owned()
            }
        }

        /// Calls and answers.
        impl Server {
            /// Adds a hook that decides about each call before it is looked at. Hooks are asked in the order of their
            /// coming, up to one that returns neither [`Pass`](Verdict::Pass) nor [`Hold`](Verdict::Hold).
            pub fn on_call(&self, hook: impl Fn(&Call) -> Verdict + Send + Sync + 'static) -> HookId {
                self.shared.hooks.on_call(std::sync::Arc::new(hook))
            }

            /// Adds a hook that decides about each answer, given its status. The answer contains what was true when it
            /// was computed, however long it is held back. A subscription is answered when it has its first event.
            pub fn on_answer(
                &self,
                hook: impl Fn(&Call, tonic::Code) -> Verdict + Send + Sync + 'static,
            ) -> HookId {
                self.shared.hooks.on_answer(std::sync::Arc::new(hook))
            }

            /// Adds a hook with this verdict about calls of this method.
            pub fn on(&self, method: Method, verdict: Verdict) -> HookId {
                self.on_call(
                    move |call| if call.method() == method { verdict.clone() } else { Verdict::Pass },
                )
            }

            /// Removes a hook. What it holds back stays held.
            pub fn remove_hook(&self, hook: HookId) {
                self.shared.hooks.remove(hook);
            }

            /// Registers subscriptions from now on only when the returned gate is open. It replaces the gate
            /// of an earlier call.
            pub fn hold_subscriptions(&self) -> Gate {
                self.shared.hooks.hold_subscriptions()
            }

            /// Holds back the events of all subscribers from now on until the returned gate is open; none is lost. It
            /// replaces the gate of an earlier call.
            pub fn stall_streams(&self) -> Gate {
                self.shared.hooks.stall_streams()
            }

            /// Resolves with the first such call that arrives after this one (not after its first poll).
            /// There is no time limit.
            pub fn arrival(&self, wanted: impl Fn(&Call) -> bool + Send + 'static) -> Arrival<Call> {
                self.shared.hooks.arrival(Box::new(wanted))
            }

            /// Returns what has been counted so far.
            pub fn stats(&self) -> Stats {
                self.shared.stats.now()
            }

            /// Resolves once the counts are as wanted, with these counts. There is no time limit.
            pub async fn until(&self, wanted: impl FnMut(&Stats) -> bool) -> Stats {
                self.shared.stats.until(wanted).await
            }

            /// Resolves once at least so many subscriptions are registered. There is no time limit.
            pub async fn until_subscriptions(&self, count: usize) {
                self.until(|stats| stats.subscriptions >= count).await;
            }
        }

        /// Faults.
        impl Server {
            /// Closes all connections; new ones are accepted.
            pub fn disconnect_all(&self) {
                self.listening.close_all();
            }

            /// Receives new connections so from now on; open ones stay as they are.
            pub fn receive(&self, reception: Reception) {
                self.listening.receive(reception);
            }

            /// Goes away: the socket file is removed, all connections are closed, events that were kept for
            /// subscribers are lost. What is alive lives on, and can be changed meanwhile. Resolves when no
            /// socket is open.
            pub async fn stop_listening(&self) {
                self.listening.stop().await;
                self.until(|stats| stats.open == 0 && stats.subscriptions == 0).await;
            }

            /// Comes back with a new socket file, and with what is alive as it is. Does nothing if it listens.
            ///
            /// # Errors
            ///
            /// [`Error::Listen`] if the socket cannot be made again.
            pub fn listen_again(&self) -> Result<(), Error> {
                self.listening.begin().map_err(Error::listen)
            }
        }
    };
}

pub(crate) use driven;
