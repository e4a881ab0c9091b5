//! A Kubernetes cluster on this machine, to try things by hand; also the first process of each of its hosts.

use std::{net::SocketAddr, os::unix::process::CommandExt, path::PathBuf, process::ExitCode, time::Instant};

use clap::{Args, Parser, Subcommand};
use e2e::{Cluster, Error, HostId, Layout, Result, boot, calico, forward};

/// A real Kubernetes cluster in network namespaces of this machine.
#[derive(Parser)]
#[command(version, about)]
struct Lab {
    #[command(subcommand)]
    command: Task,
}

#[derive(Args)]
struct Name {
    /// Which cluster.
    #[arg(long, default_value = "demo", env = "PURELB_LAB")]
    name: String,
}

#[derive(Subcommand)]
enum Task {
    /// Start a cluster.
    Up {
        #[command(flatten)]
        name: Name,
        /// How many nodes.
        #[arg(long, default_value_t = 3)]
        nodes: u8,
    },
    /// End a cluster, whatever state it is in.
    Down {
        #[command(flatten)]
        name: Name,
    },
    /// Show what runs.
    Status {
        #[command(flatten)]
        name: Name,
    },
    /// Run kubectl.
    Kubectl {
        #[command(flatten)]
        name: Name,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a program in a host: node1, node2, ..., router, client, control-plane, switch.
    Exec {
        #[command(flatten)]
        name: Name,
        /// The host.
        host: HostId,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Make images known to every node.
    Load {
        #[command(flatten)]
        name: Name,
        /// OCI or Docker archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Get a page with the client of the cluster.
    Get {
        #[command(flatten)]
        name: Name,
        /// Address and port: `192.168.50.11:80` or `[fd00:50::11]:80`.
        server: SocketAddr,
    },
    #[command(hide = true)]
    Holder { spec: PathBuf },
    #[command(hide = true)]
    Init { spec: PathBuf },
    #[command(hide = true)]
    Forward { target: SocketAddr },
    #[command(hide = true)]
    Calico { name: String },
}

fn main() -> ExitCode {
    match run(Lab::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Up { name, nodes } => up(&name.name, nodes),
        Task::Down { name } => Cluster::stop_named(&name.name),
        Task::Status { name } => status(&name.name),
        Task::Kubectl { name, arguments } => {
            let mut kubectl = Cluster::attach(&name.name)?.kubectl_command()?;
            kubectl.args(arguments);
            replace_this_process(&mut kubectl)
        }
        Task::Exec { name, host, command } => {
            let words: Vec<_> = command.iter().map(String::as_str).collect();
            replace_this_process(&mut Cluster::attach(&name.name)?.host(host).command(&words)?)
        }
        Task::Load { name, archives } => {
            let cluster = Cluster::attach(&name.name)?;
            archives.iter().try_for_each(|archive| cluster.load_image(archive))
        }
        Task::Get { name, server } => {
            let answer = Cluster::attach(&name.name)?.client().http_get(server.ip(), server.port())?;
            print!("{answer}");
            Ok(())
        }
        Task::Holder { spec } => boot::hold(&spec),
        Task::Init { spec } => boot::init(&spec),
        Task::Forward { target } => block_on(forward::run(target)),
        Task::Calico { name } => block_on(calico::run(&Layout::new(&name)?)),
    }
}

fn up(name: &str, nodes: u8) -> Result<()> {
    let begin = Instant::now();
    let tell = |step: &str| println!("{:5.1} s  {step}", begin.elapsed().as_secs_f32());
    let cluster = block_on(Cluster::start_with_progress(name, nodes, tell))?;
    tell("ready");
    println!("\nexport KUBECONFIG={}\nlab kubectl --name {name} -- get nodes", cluster.kubeconfig().display());
    Ok(())
}

fn status(name: &str) -> Result<()> {
    let cluster = Cluster::attach(name)?;
    for host in cluster.hosts() {
        let state = host.pid().map_or_else(|_| "off".to_owned(), |pid| format!("process {pid}"));
        println!("{:<8} {state:<16} {}", host.name(), host.directory().display());
    }
    println!("\nBGP sessions of the router: {:?}\n", cluster.router().sessions()?);
    print!("{}", cluster.kubectl(&["get", "nodes", "-o", "wide"])?);
    Ok(())
}

fn replace_this_process(command: &mut std::process::Command) -> Result<()> {
    // Returns only when it fails.
    let source = command.exec();
    Err(Error::System { what: format!("start {}", command.get_program().display()), source })
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { what: "start the runtime".into(), source })?
        .block_on(work)
}
