"""An MQTT client made of paho-mqtt, as a maker's backend might use it.

The first argument is a JSON object: who connects, where to, and how. Then each line on standard input is a JSON object
that says what to do, and each line on standard output one that says what happened. Speaks paho 1.6 and 2.
"""

import json
import ssl
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

wanted = json.loads(sys.argv[1])
five = wanted["version"] == 5
printing = threading.Lock()


def tell(event, **facts):
    with printing:
        print(json.dumps({"event": event, **facts}), flush=True)


def number(code):
    """Reason codes are objects in MQTT 5 and numbers in 3.1.1."""
    return getattr(code, "value", code)


def on_connect(client, userdata, flags, code, properties=None):
    present = bool(flags.get("session present"))
    tell("connected", code=number(code), session_present=present)


def on_disconnect(client, userdata, code, properties=None):
    tell("disconnected", code=number(code))


def on_subscribe(client, userdata, mid, codes, properties=None):
    tell("subscribed", codes=[number(code) for code in codes])


def on_message(client, userdata, message):
    user = list(getattr(message.properties, "UserProperty", [])) if five else []
    payload = message.payload.decode("utf-8", "replace")
    tell("message", topic=message.topic, payload=payload, qos=message.qos, retain=message.retain, user=user)


def on_publish(client, userdata, mid):
    tell("acknowledged", mid=mid)


arguments = {"client_id": wanted["client_id"], "protocol": mqtt.MQTTv5 if five else mqtt.MQTTv311}
if not five:
    arguments["clean_session"] = wanted["clean"]
if hasattr(mqtt, "CallbackAPIVersion"):
    arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
client = mqtt.Client(**arguments)
client.on_connect, client.on_disconnect = on_connect, on_disconnect
client.on_subscribe, client.on_message, client.on_publish = on_subscribe, on_message, on_publish
client.reconnect_delay_set(1, 1)
client.tls_set(ca_certs=wanted["roots"], certfile=wanted["crt"], keyfile=wanted["key"])

how = {}
if five:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 0 if wanted["clean"] else 3600
    how = {"clean_start": wanted["clean"], "properties": properties}
try:
    client.connect(wanted["host"], wanted["port"], keepalive=30, **how)
except (ssl.SSLError, OSError) as error:
    tell("failed", why=str(error))
    sys.exit(1)
client.loop_start()

for line in sys.stdin:
    order = json.loads(line)
    if order["do"] == "publish":
        info = client.publish(order["topic"], order["payload"], order["qos"], order.get("retain", False))
        tell("sent", mid=info.mid, payload=order["payload"])
    elif order["do"] == "subscribe":
        client.subscribe(order["filter"], order["qos"])
    elif order["do"] == "leave":
        break
client.disconnect()
client.loop_stop()
