//! A Kubernetes node that can be cut off, unplugged, switched off and on.

use std::{fs::File, ops::Deref, path::Path, process::Stdio};

use api_types::Family;

use crate::{
    base::{
        command,
        error::{Doing, Error, Result},
    },
    hosts::{cables, host::Host, spec::HostSpec},
    topology::{host_id::HostId, layout::Layout, mac::Mac, prepared},
};

/// A node of a cluster. It is a [`Host`] that can be cut off, switched off and on.
#[derive(Clone, Debug)]
pub struct Node {
    host: Host,
}

impl Deref for Node {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Node {
    pub(crate) fn new(layout: &Layout, number: u8) -> Self {
        Self { host: Host::new(layout, HostId::Node(number)) }
    }

    /// The hardware address of `eth0`.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.id.mac()
    }

    /// Pulls the cable at the switch: the node loses its carrier at once.
    ///
    /// # Errors
    /// The node is off.
    pub fn cut(&self) -> Result<()> {
        self.at_the_switch(&["down"])
    }

    /// Undoes [`Self::cut`].
    ///
    /// # Errors
    /// The node is off.
    pub fn join(&self) -> Result<()> {
        self.at_the_switch(&["up"])
    }

    /// Has the switch drop everything from and to the node, which keeps its carrier and so does not notice by itself.
    ///
    /// # Errors
    /// The node is off.
    pub fn isolate(&self) -> Result<()> {
        self.at_the_switch(&["nomaster"])
    }

    /// Undoes [`Self::isolate`].
    ///
    /// # Errors
    /// The node is off.
    pub fn rejoin(&self) -> Result<()> {
        self.at_the_switch(&["master", "br0"])
    }

    fn at_the_switch(&self, setting: &[&str]) -> Result<()> {
        let port = format!("link set {} {}", self.id, setting.join(" "));
        cables::batch(&self.layout.namespace(HostId::Switch), &[port])
    }

    /// Takes the node's `eth0` down, as an administrator would: its IPv6 addresses and all routes over it go away.
    ///
    /// # Errors
    /// The node is off.
    pub fn unplug(&self) -> Result<()> {
        self.exec(&["ip", "link", "set", "eth0", "down"]).map(drop)
    }

    /// Takes `eth0` up again, with its own addresses and routes. Other addresses it had are not restored.
    ///
    /// # Errors
    /// The node is off.
    pub fn plug(&self) -> Result<()> {
        let spec = HostSpec::read(&HostSpec::path(&self.layout, self.id))?;
        // What is still there is replaced by itself.
        let lines: Vec<_> = spec
            .network
            .iter()
            .filter(|line| !line.starts_with("link add "))
            .map(|line| line.replacen(" add ", " replace ", 1))
            .collect();
        cables::batch(&self.layout.namespace(self.id), &lines)
    }

    /// Switches the node off without warning: its cable first, then all processes.
    ///
    /// # Errors
    /// Something survives.
    pub fn power_off(&self) -> Result<()> {
        if self.is_running() {
            self.cut()?;
        }
        self.destroy()
    }

    /// Switches a node on that was off. It comes back with its disk but without processes, as after a power failure,
    /// and Ready some seconds later. One that is on stays as it is.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn power_on(&self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        // A name may be left over from a starter that was killed.
        self.destroy()?;
        let waiting = self.boot(None)?;
        cables::plug_in(&self.layout, self.id)?;
        waiting.go()
    }

    /// Makes the images of an OCI or Docker archive known to the node's containerd.
    ///
    /// # Errors
    /// The file cannot be read, or is not such an archive.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let file = File::open(archive).doing(|| format!("open {}", archive.display()))?;
        // Through standard input, since the node may not see the file under this name.
        let mut import = self.command(&["ctr", "images", "import", "--local", "--no-unpack=false", "-"])?;
        let output = import.stdin(Stdio::from(file)).output().doing(|| "start ctr".into())?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Command {
            command: format!("ctr images import {} on {}", archive.display(), self.id),
            status: output.status.to_string(),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// The images every node starts with.
    pub(crate) fn load_first_images(&self) -> Result<()> {
        prepared::images()?.iter().try_for_each(|image| self.load_image(image))
    }

    /// The output of the node's BIRD for a command such as `show protocols`.
    ///
    /// # Errors
    /// The node is off, or BIRD does not know the command.
    pub fn birdc(&self, family: Family, words: &str) -> Result<String> {
        let client = match family {
            Family::V4 => "birdc",
            Family::V6 => "birdc6",
        };
        command::run(self.command(&[client])?.args(words.split(' ')))
    }
}
