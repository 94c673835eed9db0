"""SkyPilot's hosted catalogs: prices of clouds that no reader of ours reads, at second hand and only when asked for."""
