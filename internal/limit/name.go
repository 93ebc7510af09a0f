package limit

// Name says which limit refused something. It labels a metric, and is told to
// clients but for the last two.
type Name string

// The names, a closed set.
const (
	UserConnections    Name = "user_connections"     // max-connections-per-user
	AddressConnections Name = "address_connections"  // max-connections-per-address
	UserRate           Name = "user_rate"            // max-subscribe-rate-per-user
	AddressRate        Name = "address_rate"         // max-subscribe-rate-per-address
	UserPublishRate    Name = "user_publish_rate"    // max-publish-rate-per-user
	AddressPublishRate Name = "address_publish_rate" // max-publish-rate-per-address
	ReplicaConnections Name = "replica_connections"  // max-connections
	Handshakes         Name = "handshakes"           // silent connections that fill what package accept has for those that wait
)
