// The ports on the hosts of a run: every host has an address of its own, so the usual ones are free.

/** etcd's, for clients. */
export const etcdClientPort = 2379;
/** etcd's, for its other members. */
export const etcdPeerPort = 2380;
/** The sidecar's public listener. */
export const sidecarPort = 4040;
/** The sidecar's local listener. */
export const sidecarLocalPort = 4041;
/** The sidecar's proxies to the leader. */
export const proxyPorts = { http: 5000, tcp: 5001 } as const;
/** The app's beside a sidecar. */
export const appPort = 8080;
/** The first of the slow link's, one for each member of etcd. */
export const slowLinkPort = 7001;
