"""An IteraPay of your own, offline: the gateway's HTTP surface, a control panel and signed webhooks."""
