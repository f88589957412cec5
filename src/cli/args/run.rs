//! What may be typed after `deferd run`.

use std::net::SocketAddr;
use std::path::PathBuf;

/// `deferd run`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = RUN_HELP)]
pub struct Run {
    /// Where journal and checkpoint are kept; made where it is missing. The key run.data_dir
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Where to listen; port 0 takes a free one. The key http.listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,

    /// Take these inputs too, CloudEvents one a line; `-` reads standard input
    #[arg(long, value_name = "FILE.jsonl")]
    pub input: Option<PathBuf>,
}

impl Run {
    /// What these flags set, as `--set` would.
    pub(in crate::cli) fn sets(&self) -> Vec<String> {
        let data_dir = self.data_dir.iter().map(|dir| format!("run.data_dir={}", dir.display()));
        let listen = self.listen.iter().map(|listen| format!("http.listen={listen}"));
        data_dir.chain(listen).collect()
    }
}

const RUN_HELP: &str = "\
Takes inputs by HTTP (POST /v1/events) and from --input, decides them, and hands out deliveries (GET
/v1/deliveries, sinks). An input is answered when it is durable; a crash at any instant loses nothing
that was answered and doubles nothing. The journal in the data directory can be replayed and asked while
it runs.

Signals: TERM and INT stop it when what waits is taken; a second one at once. HUP reads the config again.
Exit codes: 0 stopped; 1 it could not go on; 2 it could not start; 78 the configuration is wrong.

Examples:
  deferd run
  deferd run --data-dir /var/lib/deferd --config /etc/deferd/deferd.toml
  deferd run --listen 127.0.0.1:0 --set sinks.stdout=true
  tshark … -T ek | deferd ingest ek - | deferd run --input -";
