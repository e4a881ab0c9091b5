//! kube-proxy on this node.

/// How kube-proxy translates the addresses of Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// By nftables.
    Nftables,
    /// By iptables, which may be nftables underneath.
    Iptables,
    /// By IPVS: packets go through the node's input with the Service's address as their destination.
    Ipvs,
}

impl ProxyMode {
    /// The mode of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "nftables" => Some(Self::Nftables),
            "iptables" => Some(Self::Iptables),
            "ipvs" => Some(Self::Ipvs),
            _ => None,
        }
    }

    /// Its name, as kube-proxy's configuration has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ipvs => "ipvs",
        }
    }
}

/// Whether kube-proxy serves this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KubeProxy {
    /// Not known yet.
    #[default]
    Unknown,
    /// It does.
    Here(ProxyMode),
    /// It does not.
    Gone,
}
