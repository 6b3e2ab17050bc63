"""What browsers and the gateway see: the blueprint, its pages and the webhook. Flask lives here."""
