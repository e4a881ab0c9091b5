//! Credentials for the API server: certificates, tokens, kubeconfigs.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    base::{
        command,
        error::{Doing, Result},
    },
    topology::{host_id::HostId, layout::Layout},
};

/// A user of the API server, as its token file knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// May do everything.
    Admin,
    ControllerManager,
    Scheduler,
    Proxy,
    /// The kubelet of a node.
    Kubelet(u8),
}

impl User {
    fn all(nodes: u8) -> impl Iterator<Item = Self> {
        [Self::Admin, Self::ControllerManager, Self::Scheduler, Self::Proxy]
            .into_iter()
            .chain((1..=nodes).map(Self::Kubelet))
    }

    /// The name Kubernetes' own roles are bound to.
    fn name(self) -> String {
        match self {
            Self::Admin => "admin".into(),
            Self::ControllerManager => "system:kube-controller-manager".into(),
            Self::Scheduler => "system:kube-scheduler".into(),
            Self::Proxy => "system:kube-proxy".into(),
            Self::Kubelet(number) => format!("system:node:{}", HostId::Node(number)),
        }
    }

    fn group(self) -> &'static str {
        match self {
            Self::Admin => "system:masters",
            Self::Kubelet(_) => "system:nodes",
            _ => "",
        }
    }

    /// Where the kubeconfig is that hosts of the cluster use.
    pub(crate) fn kubeconfig(self, layout: &Layout) -> PathBuf {
        layout.pki().join(format!("{}.kubeconfig", self.name().replace(':', "-")))
    }
}

/// Makes all keys, certificates, tokens and kubeconfigs. `port` is where the machine reaches the API server.
pub(crate) fn make(layout: &Layout, nodes: u8, port: u16) -> Result<()> {
    let pki = layout.pki();
    fs::create_dir_all(&pki).doing(|| format!("make {}", pki.display()))?;
    certificates(&pki, nodes)?;
    let authority = base64(&fs::read(pki.join("ca.crt")).doing(|| "read the certificate".into())?);
    let mut tokens = String::new();
    for user in User::all(nodes) {
        let token = random_token()?;
        // Token, name, identifier, group.
        tokens.extend([&token, ",", &user.name(), ",", &user.name(), ",", user.group(), "\n"]);
        let server = format!("https://{}:6443", HostId::Control.ipv4());
        write_private(&user.kubeconfig(layout), &kubeconfig(layout, &server, &authority, &token))?;
        if user == User::Admin {
            let server = format!("https://127.0.0.1:{port}");
            write_private(&layout.kubeconfig(), &kubeconfig(layout, &server, &authority, &token))?;
        }
    }
    write_private(&pki.join("tokens.csv"), &tokens)
}

fn certificates(pki: &Path, nodes: u8) -> Result<()> {
    let openssl = |arguments: &[&str]| command::run(Command::new("openssl").args(arguments).current_dir(pki)).map(drop);
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-x509", "-days", "3650"];
    openssl(&[&["req"], &key[..], &["-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=purelb-lab"]].concat())?;
    // One certificate for the API server and all kubelets.
    let names = format!("subjectAltName={}", alternative_names(nodes));
    let signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", &names];
    let plain = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"];
    let server = ["-keyout", "server.key", "-out", "server.crt", "-subj", "/CN=server"];
    openssl(&[&["req"], &key[..], &signed, &plain, &server].concat())?;
    openssl(&["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "service-account.key"])
}

fn alternative_names(nodes: u8) -> String {
    let mut names: Vec<_> = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        .map(|name| format!("DNS:{name}"))
        .into();
    names.extend(["127.0.0.1", "::1", "10.96.0.1", "fd00:10:96::1"].map(|address| format!("IP:{address}")));
    for host in [HostId::Control].into_iter().chain((1..=nodes).map(HostId::Node)) {
        names.extend([format!("IP:{}", host.ipv4()), format!("IP:{}", host.ipv6())]);
    }
    names.join(",")
}

fn kubeconfig(layout: &Layout, server: &str, authority: &str, token: &str) -> String {
    let name = format!("purelb-lab-{}", layout.name());
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: {name}\n  cluster: {{server: \"{server}\", certificate-authority-data: {authority}}}\n\
         users:\n\
         - name: {name}\n  user: {{token: {token}}}\n\
         contexts:\n\
         - name: {name}\n  context: {{cluster: {name}, user: {name}}}\n\
         current-context: {name}\n"
    )
}

fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).doing(|| "get randomness".into())?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .doing(|| format!("write {}", path.display()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            (0..3).fold(0_u32, |bits, index| bits << 8 | u32::from(group.get(index).copied().unwrap_or_default()));
        for index in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * index) & 63).ok().and_then(|digit| DIGITS.get(digit));
            text.push(digit.filter(|_| index <= group.len()).map_or('=', |digit| char::from(*digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_every_remainder() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }

    #[test]
    fn the_certificate_is_good_for_every_way_to_the_servers() {
        let names = alternative_names(2);
        for name in ["IP:127.0.0.1", "IP:10.96.0.1", "IP:192.168.50.10", "IP:fd00:50::12", "DNS:kubernetes.default.svc"]
        {
            assert!(names.split(',').any(|each| each == name), "{name} in {names}");
        }
    }
}
