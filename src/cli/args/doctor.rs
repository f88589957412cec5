//! What may be typed after `deferd doctor`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ShowAs;

/// `deferd doctor`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = DOCTOR_HELP)]
pub struct Doctor {
    /// Only whether the running daemon answers /livez; for health checks
    #[arg(long)]
    pub live: bool,

    /// The data directory to look at. The key run.data_dir
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Where the daemon listens, or will. The key http.listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,

    /// Log in at the message store as this user, by the keys of [imap]
    #[arg(long, value_name = "ADDRESS")]
    pub user: Option<String>,

    /// How the answer is written
    #[arg(long, short, value_enum, default_value_t = ShowAs::Table)]
    pub output: ShowAs,
}

impl Doctor {
    /// What these flags set, as `--set` would.
    pub(in crate::cli) fn sets(&self) -> Vec<String> {
        let data_dir = self.data_dir.iter().map(|dir| format!("run.data_dir={}", dir.display()));
        let listen = self.listen.iter().map(|listen| format!("http.listen={listen}"));
        data_dir.chain(listen).collect()
    }
}

const DOCTOR_HELP: &str = "\
Looks at configuration, data directory, disk, clock, port, token and limits, with log = \"kafka\" at
the cluster and its topics too, with imap.server at the message store, and says of each whether it
is ok, a warning, bad, or not to be told from here, and what to do. It changes nothing: to time the
disk it writes a file of 80 KiB in the data directory, or where that would be made, and removes it.
Run it as the user that runs the daemon, before the first start and whenever something is odd.

Exit codes: 0 nothing is bad; 1 something is.

Examples:
  deferd doctor
  deferd --config /etc/deferd/deferd.toml doctor --data-dir /var/lib/deferd
  deferd doctor --output json | jq '.[] | select(.verdict != \"ok\")'
  deferd doctor --live";
